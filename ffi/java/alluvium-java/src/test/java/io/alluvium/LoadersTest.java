package io.alluvium;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.lang.ref.WeakReference;
import java.lang.reflect.Method;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** Several class loaders at once, as Flink makes them, each with a library of its own, which goes when the loader does. */
class LoadersTest {
    /** One that has failed doesn't come: then the others fail as well, after it. */
    private static final int BARRIER_S = 60;

    private static URLClassLoader loader() {
        List<URL> urls = new ArrayList<>();
        for (String entry : System.getProperty("java.class.path").split(File.pathSeparator)) {
            try {
                urls.add(new File(entry).toURI().toURL());
            } catch (MalformedURLException error) {
                throw new AssertionError(error);
            }
        }
        return new URLClassLoader(urls.toArray(new URL[0]), ClassLoader.getPlatformClassLoader());
    }

    private static Object call(ClassLoader loader, Path directory, boolean close) throws Exception {
        Class<?> example = Class.forName("io.alluvium.LoadersTest$Example", true, loader);
        Method run = example.getMethod("run", Path.class, boolean.class);
        return run.invoke(null, directory, close);
    }

    /** Which copies of the library are mapped. Files that are deleted keep their names here. */
    private static Set<String> mapped() throws IOException {
        return Files.readAllLines(Path.of("/proc/self/maps")).stream()
                .filter(line -> line.contains("/alluvium-") && line.contains(".so"))
                .map(line -> line.substring(line.indexOf('/')))
                .collect(Collectors.toSet());
    }

    /** What runs in each of the loaders. */
    public static final class Example {
        private Example() {}

        /** Opens things without objects that stand for them: nobody but the library itself can ever close them. */
        public static void openWithoutObject(Path directory) {
            NativeLibrary.ensureLoaded();
            Memory out = Memory.allocate(8);
            assertEquals(0, Native.engineOpen(out.address, 2, 16 << 20, 0, 0, 1));
            Scratch request = new Scratch().putInt(0).putText(directory.toString());
            new StoreOptions().write(request);
            assertEquals(0, Native.storeOpen(out.buffer.getLong(0), out.address, request.in.address, request.end));
            long store = out.buffer.getLong(0);
            request.end = 0;
            StateOptions.value("values").write(request);
            assertEquals(0, Native.storeState(store, request.in.address, request.end));
            assertEquals(0, Native.writerOpen(store, out.address, 0, 127, 0));
            long writer = out.buffer.getLong(0);
            assertEquals(0, Native.writerPut(writer, 0, -1, out.address, 8, 0, out.address, 8));
            out.keep();
        }

        /** Opens a store in a directory, uses it, and says what it read. */
        public static String run(Path directory, boolean close) {
            Engine engine = Engine.open(new EngineOptions().memoryBudgetBytes(16 << 20));
            Store store = Store.create(engine, directory, new StoreOptions());
            State values = store.state(StateOptions.value("values"));
            Writer writer = store.writer();
            writer.put(values, Fixture.bytes("k"), Fixture.bytes(directory.getFileName().toString()));
            String read = Fixture.text(writer.get(values, Fixture.bytes("k"))) + " of " + Engine.openObjects();
            if (close) {
                writer.close();
                store.close();
                engine.close();
            }
            return read;
        }

        /** The same with everything open while all others have so, too, and a checkpoint; says how many values were right. */
        public static String runBeside(Path directory, CyclicBarrier all) throws Exception {
            String name = directory.getFileName().toString();
            try (Engine engine = Engine.open(new EngineOptions().memoryBudgetBytes(16 << 20));
                    Store store = Store.create(engine, directory, new StoreOptions());
                    Writer writer = store.writer()) {
                all.await(BARRIER_S, TimeUnit.SECONDS);
                State values = store.state(StateOptions.value("values of " + name));
                for (int number = 0; number < 2_000; number++) {
                    writer.put(values, Fixture.bytes("k" + number), Fixture.bytes(name + number));
                }
                try (PendingCheckpoint pending = store.checkpoint(Checkpoint.of(1))) {
                    pending.await();
                }
                int right = 0;
                for (int number = 0; number < 2_000; number++) {
                    right += (name + number).equals(Fixture.text(writer.get(values, Fixture.bytes("k" + number)))) ? 1 : 0;
                }
                String said = right + " of " + name + ", " + Engine.openObjects() + " open, " + store.states().get(0).name();
                all.await(BARRIER_S, TimeUnit.SECONDS);
                return said;
            }
        }
    }

    @Test
    void twoLoadersAreAtItAtOnce() throws Exception {
        Path directory = Fixture.directory();
        Engine.openObjects();
        Set<String> before = mapped();
        CyclicBarrier all = new CyclicBarrier(3);
        String[] names = {"one", "two"};
        Object[] said = new Object[names.length];
        Set<String> both = new HashSet<>();
        try (URLClassLoader one = loader(); URLClassLoader two = loader()) {
            ThreadsTest.all(thread -> {
                if (thread < names.length) {
                    Class<?> example = Class.forName("io.alluvium.LoadersTest$Example", true, thread == 0 ? one : two);
                    Method run = example.getMethod("runBeside", Path.class, CyclicBarrier.class);
                    said[thread] = run.invoke(null, directory.resolve(names[thread]), all);
                } else if (thread == names.length) {
                    all.await(BARRIER_S, TimeUnit.SECONDS);
                    both.addAll(mapped());
                    all.await(BARRIER_S, TimeUnit.SECONDS);
                }
            });
        }
        assertEquals("2000 of one, 3 open, values of one", said[0]);
        assertEquals("2000 of two, 3 open, values of two", said[1]);
        both.removeAll(before);
        assertEquals(2, both.size(), "each has a library of its own");
        Fixture.delete(directory);
    }

    @Test
    void eachLoaderHasItsOwn() throws Exception {
        Path directory = Fixture.directory();
        Engine.openObjects();
        Set<String> before = mapped();
        try (URLClassLoader one = loader(); URLClassLoader two = loader()) {
            assertNotSame(Class.forName("io.alluvium.Engine", true, one), Engine.class);
            assertEquals("a of 3", call(one, directory.resolve("a"), true));
            assertEquals("b of 3", call(two, directory.resolve("b"), true));
            assertEquals("c of 3", call(one, directory.resolve("c"), true));
            Set<String> after = mapped();
            // Libraries of other tests' loaders may have gone.
            after.removeAll(before);
            assertEquals(2, after.size());
        }
        Fixture.delete(directory);
    }

    /** Runs a thread to its end, which to the operating system comes a moment later than to Java. */
    private static void finish(Thread task) throws Exception {
        task.setName("loader's task");
        task.start();
        task.join();
        for (int tries = 0; tries < 500 && ThreadsTest.nativeThreads("loader's task").size() > 0; tries++) {
            Thread.sleep(20);
        }
        assertEquals(List.of(), ThreadsTest.nativeThreads("loader's task"));
    }

    private static WeakReference<ClassLoader> used(Path directory, boolean close) throws Exception {
        try (URLClassLoader loader = loader()) {
            AtomicReference<Object> read = new AtomicReference<>();
            // The operating system keeps a library for as long as a thread lives that has called it.
            Thread task = new Thread(() -> {
                try {
                    read.set(call(loader, directory.resolve("x"), close));
                } catch (Exception error) {
                    read.set(error);
                }
            });
            finish(task);
            assertEquals("x of 3", read.get());
            return new WeakReference<>(loader);
        }
    }

    private static boolean isGone(WeakReference<ClassLoader> loader, Set<String> before, int threads) throws IOException {
        return loader.get() == null && ThreadsTest.nativeThreads().size() == threads && before.containsAll(mapped());
    }

    /** Libraries of other tests' loaders may have gone as well. */
    private static void isUnmapped(Set<String> before) throws IOException {
        Set<String> after = mapped();
        after.removeAll(before);
        assertEquals(Set.of(), after, "the library is gone");
    }

    private static void unloaded(boolean close) throws Exception {
        Path directory = Fixture.directory();
        Engine.openObjects();
        Set<String> before = mapped();
        int threads = ThreadsTest.nativeThreads().size();
        WeakReference<ClassLoader> loader = used(directory, close);
        for (int tries = 0; tries < 500 && !isGone(loader, before, threads); tries++) {
            System.gc();
            Thread.sleep(20);
        }
        assertEquals(null, loader.get(), "nothing keeps the loader");
        assertEquals(threads, ThreadsTest.nativeThreads().size(), "no thread of the engine is left");
        isUnmapped(before);
        Fixture.delete(directory);
    }

    @Test
    void aLoaderThatIsGoneTakesTheLibraryAlong() throws Exception {
        unloaded(true);
    }

    private static WeakReference<ClassLoader> usedWithoutObject(Path directory) throws Exception {
        try (URLClassLoader loader = loader()) {
            AtomicReference<Object> failed = new AtomicReference<>();
            // As above.
            Thread task = new Thread(() -> {
                try {
                    Class<?> example = Class.forName("io.alluvium.LoadersTest$Example", true, loader);
                    example.getMethod("openWithoutObject", Path.class).invoke(null, directory);
                } catch (ReflectiveOperationException error) {
                    failed.set(error);
                }
            });
            finish(task);
            assertEquals(null, failed.get());
            return new WeakReference<>(loader);
        }
    }

    @Test
    void theLibraryEndsItsThreadsWhenItIsUnloaded() throws Exception {
        Engine.openObjects();
        Set<String> before = mapped();
        int threads = ThreadsTest.nativeThreads().size();
        Path directory = Fixture.directory();
        WeakReference<ClassLoader> loader = usedWithoutObject(directory.resolve("x"));
        for (int tries = 0; tries < 500 && ThreadsTest.nativeThreads().size() == threads; tries++) {
            Thread.sleep(20);
        }
        assertTrue(ThreadsTest.nativeThreads().size() > threads);
        for (int tries = 0; tries < 500 && !isGone(loader, before, threads); tries++) {
            System.gc();
            Thread.sleep(20);
        }
        assertEquals(null, loader.get());
        assertEquals(threads, ThreadsTest.nativeThreads().size());
        isUnmapped(before);
        Fixture.delete(directory);
    }

    @Test
    void whatIsStillOpenThenGoesAsWell() throws Exception {
        unloaded(false);
    }
}
