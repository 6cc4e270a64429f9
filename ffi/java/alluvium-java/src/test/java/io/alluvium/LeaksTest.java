package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** What is forgotten is reported, with where it was made, and released, threads included. */
class LeaksTest {
    private static final class Kept extends Handler {
        final List<LogRecord> records = new CopyOnWriteArrayList<>();

        Kept() {
            setLevel(Level.ALL);
        }

        @Override
        public void publish(LogRecord record) {
            records.add(record);
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}
    }

    /** In a method of its own, so that nothing refers to what it makes when it returns. The engine is let go of first. */
    private static void forget(Path directory) {
        Engine engine = Engine.open(new EngineOptions().memoryBudgetBytes(16 << 20));
        Store store = Store.create(engine, directory.resolve("store"), new StoreOptions());
        State values = store.state(StateOptions.value("values"));
        Writer writer = store.writer();
        writer.put(values, bytes("k"), bytes("v"));
        store.reader().get(values, bytes("k"));
        writer.keys(values, store.range()).next();
    }

    /** The engine stays open by what only the native side knows of, as during a call that is still running. */
    private static long forgetWithChild() {
        Engine engine = Engine.open(new EngineOptions().memoryBudgetBytes(16 << 20));
        Memory out = Memory.allocate(8);
        assertEquals(0, Native.shareOpen(engine.handle(), out.address, 0, 2 << 20));
        return out.buffer.getLong(0);
    }

    @Test
    void whatCanNotBeReleasedYetIsReleasedLater() throws Exception {
        long before = Engine.openObjects();
        Logger logger = Logger.getLogger("io.alluvium");
        Kept kept = new Kept();
        logger.addHandler(kept);
        logger.setUseParentHandlers(false);
        try {
            long child = forgetWithChild();
            for (int tries = 0; tries < 500 && kept.records.isEmpty(); tries++) {
                System.gc();
                Thread.sleep(20);
            }
            assertEquals(before + 2, Engine.openObjects());
            assertEquals(0, Native.close(NativeObject.SHARE, child));
            for (int tries = 0; tries < 500 && Engine.openObjects() > before; tries++) {
                System.gc();
                Thread.sleep(20);
            }
            assertEquals(before, Engine.openObjects());
            assertEquals(1, kept.records.size(), "reported once");
        } finally {
            logger.removeHandler(kept);
            logger.setUseParentHandlers(true);
        }
    }

    @Test
    void whatIsForgottenIsReportedAndReleased() throws Exception {
        long before = Engine.openObjects();
        Path directory = Fixture.directory();
        Kept kept = new Kept();
        Logger logger = Logger.getLogger("io.alluvium");
        logger.addHandler(kept);
        logger.setUseParentHandlers(false);
        try {
            // A writer's own thread goes on; nobody but the collector knows that it lost the writer.
            forget(directory);
            // An engine is none of the open objects any more while it still waits for its threads to end.
            for (int tries = 0;
                    tries < 500 && (Engine.openObjects() > before || !ThreadsTest.nativeThreads().isEmpty());
                    tries++) {
                System.gc();
                Thread.sleep(20);
            }
            assertEquals(before, Engine.openObjects());
            assertEquals(List.of(), ThreadsTest.nativeThreads());
        } finally {
            logger.removeHandler(kept);
            logger.setUseParentHandlers(true);
            Fixture.delete(directory);
        }
        assertEquals(
                List.of("a Cursor was not closed", "a Engine was not closed", "a Reader was not closed",
                        "a Store was not closed", "a Writer was not closed"),
                kept.records.stream().map(LogRecord::getMessage).sorted().collect(Collectors.toList()));
        for (LogRecord record : kept.records) {
            StringWriter trace = new StringWriter();
            record.getThrown().printStackTrace(new PrintWriter(trace));
            assertTrue(trace.toString().contains("LeaksTest.forget"), trace.toString());
        }
    }
}
