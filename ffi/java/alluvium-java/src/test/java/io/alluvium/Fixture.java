package io.alluvium;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.stream.Stream;

/** An engine and a store in a directory of their own, all of which is gone after a test. */
final class Fixture implements AutoCloseable {
    final Path directory;
    final Engine engine;
    Store store;

    Fixture() {
        this(new StoreOptions());
    }

    Fixture(StoreOptions options) {
        this(options, 16L << 20);
    }

    Fixture(StoreOptions options, long budgetBytes) {
        directory = directory();
        engine = Engine.open(new EngineOptions().memoryBudgetBytes(budgetBytes));
        store = Store.create(engine, directory.resolve("store"), options);
    }

    static Path directory() {
        try {
            return Files.createTempDirectory("alluvium-test-");
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    static void delete(Path directory) {
        try (Stream<Path> paths = Files.walk(directory)) {
            paths.sorted(Comparator.reverseOrder()).forEach(path -> path.toFile().delete());
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }

    CheckpointInfo checkpoint(long label) {
        try (PendingCheckpoint pending = store.checkpoint(Checkpoint.of(label))) {
            return pending.await();
        }
    }

    /** Closes the store and opens it at its newest checkpoint. */
    void reopen(StoreOptions options) {
        store.close();
        store = Store.open(engine, directory.resolve("store"), options);
    }

    @Override
    public void close() {
        store.close();
        engine.close();
        delete(directory);
    }
}
