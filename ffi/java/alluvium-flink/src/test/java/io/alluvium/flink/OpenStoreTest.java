package io.alluvium.flink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.alluvium.AlluviumException;
import io.alluvium.Checkpoint;
import io.alluvium.CheckpointFiles;
import io.alluvium.Cursor;
import io.alluvium.Engine;
import io.alluvium.EngineOptions;
import io.alluvium.Fetches;
import io.alluvium.PendingCheckpoint;
import io.alluvium.Reader;
import io.alluvium.State;
import io.alluvium.StateOptions;
import io.alluvium.Status;
import io.alluvium.Store;
import io.alluvium.StoreOptions;
import io.alluvium.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import org.apache.flink.runtime.memory.OpaqueMemoryResource;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OpenStoreTest {
    private static final byte[] KEY = {1};

    @TempDir
    Path temporary;

    /** The manifest of a checkpoint with one value. */
    private byte[] manifest() {
        try (Engine engine = Engine.open(new EngineOptions().memoryBudgetBytes(8 << 20));
                Store store = Store.create(engine, temporary.resolve("elsewhere"), new StoreOptions())) {
            State state = store.state(StateOptions.value("values"));
            try (Writer writer = store.writer()) {
                writer.put(state, KEY, KEY);
            }
            try (PendingCheckpoint pending = store.checkpoint(Checkpoint.of(1))) {
                pending.await();
            }
            try (CheckpointFiles files = store.files(1)) {
                return files.manifest();
            }
        }
    }

    /**
     * A query of another thread that waited for a file kept the reader open when the task ended, and with it the store, its engine, and the slot's
     * memory; nobody told it that the file won't come any more.
     */
    @Test
    void aQueryThatIsUnderWayKeepsNothingOpen() throws Exception {
        byte[] manifest = manifest();
        long openBefore = Engine.openObjects();
        Path directory = temporary.resolve("task");
        SlotEngine engine = new SlotEngine(8 << 20, 1);
        Path path = Files.createDirectory(directory).resolve("store");
        Store absent = Store.restoreAbsent(engine.engine(), path, List.of(manifest), new StoreOptions().fetch(true));
        OpenStore store = new OpenStore(
                absent, path, directory, new OpaqueMemoryResource<>(engine, 8 << 20, engine::close));
        State state = absent.state(StateOptions.value("values"));
        // By nobody.
        Fetches fetches = absent.fetches().orElseThrow();
        store.bringing(new Bringing(fetches, path, Map.of(), Set.of(), 0));

        CompletableFuture<byte[]> answer = new CompletableFuture<>();
        Thread query = new Thread(() -> {
            try {
                answer.complete(store.reader().get(state, KEY));
            } catch (Throwable e) {
                answer.completeExceptionally(e);
            }
        });
        query.setDaemon(true);
        query.start();
        while (fetches.awaitDemanded(1, Duration.ofSeconds(1)).isEmpty()) {
            assertFalse(answer.isDone(), "it waits for a file");
        }

        // As a task's thread may be that is cancelled.
        Thread.currentThread().interrupt();
        store.close();
        assertTrue(Thread.interrupted());
        assertTrue(absent.isClosed(), "the store is closed");
        assertTrue(engine.engine().isClosed(), "its engine is closed");
        assertEquals(openBefore, Engine.openObjects());
        assertFalse(Files.exists(directory));
        AlluviumException told = null;
        try {
            answer.get(60, TimeUnit.SECONDS);
        } catch (ExecutionException e) {
            told = (AlluviumException) e.getCause();
        }
        assertEquals(Status.ABSENT, told == null ? null : told.status());
    }

    /**
     * As above, but its next wait began when those who waited had been told already: nobody told it any more. Who has a reader may ask it as often
     * as they like.
     */
    @Test
    void aQueryThatComesToWaitLateKeepsNothingOpen() throws Exception {
        byte[] manifest = manifest();
        long openBefore = Engine.openObjects();
        Path directory = temporary.resolve("task");
        SlotEngine engine = new SlotEngine(8 << 20, 1);
        Path path = Files.createDirectory(directory).resolve("store");
        Store absent = Store.restoreAbsent(engine.engine(), path, List.of(manifest), new StoreOptions().fetch(true));
        OpenStore store = new OpenStore(
                absent, path, directory, new OpaqueMemoryResource<>(engine, 8 << 20, engine::close));
        State state = absent.state(StateOptions.value("values"));
        Fetches fetches = absent.fetches().orElseThrow();
        store.bringing(new Bringing(fetches, path, Map.of(), Set.of(), 0));

        Reader reader = store.reader();
        List<FutureTask<List<Status>>> queries = new ArrayList<>();
        for (int number = 0; number < 4; number++) {
            FutureTask<List<Status>> query = new FutureTask<>(() -> {
                List<Status> told = new ArrayList<>();
                for (int call = 0; call < 5; call++) {
                    told.add(assertThrows(AlluviumException.class, () -> reader.get(state, KEY))
                            .status());
                }
                return told;
            });
            queries.add(query);
            start(query);
        }
        while (fetches.awaitDemanded(1, Duration.ofSeconds(1)).isEmpty()) {
            assertFalse(queries.stream().anyMatch(FutureTask::isDone), "they wait for a file");
        }

        store.close();
        assertTrue(absent.isClosed(), "the store is closed");
        assertTrue(engine.engine().isClosed(), "its engine is closed");
        assertEquals(openBefore, Engine.openObjects());
        assertFalse(Files.exists(directory));
        for (FutureTask<List<Status>> query : queries) {
            for (Status told : query.get(60, TimeUnit.SECONDS)) {
                // The latter once the reader is closed.
                assertTrue(told == Status.ABSENT || told == Status.HANDLE, "told: " + told);
            }
        }
    }

    /** A query that goes through a map may be between two batches: its cursor kept the store open. */
    @Test
    void aQuerysCursorKeepsNothingOpenAndNoQueryBeginsLater() throws Exception {
        long openBefore = Engine.openObjects();
        Path directory = temporary.resolve("task");
        SlotEngine engine = new SlotEngine(8 << 20, 1);
        Path path = Files.createDirectory(directory).resolve("store");
        Store created = Store.create(engine.engine(), path, new StoreOptions());
        OpenStore store = new OpenStore(
                created, path, directory, new OpaqueMemoryResource<>(engine, 8 << 20, engine::close));
        State state = created.state(StateOptions.value("values"));
        Cursor cursor = store.reader().keys(state, store.range);
        FutureTask<Void> query = new FutureTask<>(() -> {
            while (isReadable(store)) {
                Thread.sleep(1);
            }
            cursor.close();
            return null;
        });
        start(query);

        store.close();
        query.get(60, TimeUnit.SECONDS);
        assertTrue(created.isClosed(), "the store is closed");
        assertTrue(engine.engine().isClosed(), "its engine is closed");
        assertEquals(openBefore, Engine.openObjects());
        assertFalse(Files.exists(directory));
    }

    private static boolean isReadable(OpenStore store) {
        try {
            store.reader();
            return true;
        } catch (IllegalStateException e) {
            return false;
        }
    }

    private static void start(Runnable query) {
        Thread thread = new Thread(query);
        thread.setDaemon(true);
        thread.start();
    }
}
