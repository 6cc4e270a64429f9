package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.management.ManagementFactory;
import org.junit.jupiter.api.Test;

/** Calls that are not to allocate on Java's heap don't. */
class GarbageTest {
    private static final int TIMES = 50_000;

    private static long allocated() {
        com.sun.management.ThreadMXBean threads =
                (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
        return threads.getThreadAllocatedBytes(Thread.currentThread().getId());
    }

    /** How many bytes a call allocates, once the compiler has seen it often; the least of some tries, as compilers come late. */
    private static long bytesOf(Runnable call) {
        long least = Long.MAX_VALUE;
        for (int tries = 0; tries < 8; tries++) {
            long before = allocated();
            for (int time = 0; time < TIMES; time++) {
                call.run();
            }
            least = Math.min(least, (allocated() - before) / TIMES);
        }
        return least;
    }

    @Test
    void nothingIsAllocated() {
        try (Fixture fixture = new Fixture()) {
            Store store = fixture.store;
            State values = store.state(StateOptions.value("values"));
            State sums = store.state(StateOptions.merging("sums", StateOptions.Operator.I64_ADD));
            State maps = store.state(StateOptions.map("maps"));
            byte[] name = bytes("a key of 16 byte");
            byte[] absent = bytes("another of its k");
            byte[] value = new byte[100];
            byte[] into = new byte[100];
            Key key = Key.of(name);
            Keys keys = new Keys();
            Values found = new Values();
            try (Writer writer = store.writer(); Reader reader = store.reader()) {
                writer.put(values, name, value);
                writer.mapPut(maps, key, bytes("u"), value);
                assertEquals(0, bytesOf(() -> writer.get(values, name, into)), "a get");
                assertEquals(0, bytesOf(() -> writer.get(values, absent, into)), "a miss");
                assertEquals(0, bytesOf(() -> writer.get(values, key.set(name), into)), "a get of a key");
                assertEquals(0, bytesOf(() -> writer.put(values, name, value)), "a put");
                assertEquals(0, bytesOf(() -> writer.mergeLong(sums, key, 1)), "a merge");
                assertEquals(0, bytesOf(() -> writer.mapGet(maps, key, absent, into)), "a get of an entry");
                assertEquals(0, bytesOf(() -> reader.get(values, name, into)), "a reader's get");
                assertEquals(0, bytesOf(() -> {
                    keys.clear().add(name).add(absent);
                    writer.getMany(values, keys, found);
                    found.get(0, into);
                }), "a batch");
                // What returns an array allocates that: the test can tell.
                assertEquals(true, bytesOf(() -> writer.get(values, name)) >= 100, "a get of an array");
            }
        }
    }
}
