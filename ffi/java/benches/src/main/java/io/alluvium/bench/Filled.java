package io.alluvium.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.stream.Stream;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** An engine that has all keys. One thread uses it: the one of the benchmark, which sets it up as well. */
@State(Scope.Thread)
public class Filled {
    /** Which engine; there is {@code rocksdbjni-multiget} too, which reads batches by multi-get instead of one by one. */
    @Param({"alluvium", "rocksdbjni", "hashmap"})
    public String engine;

    /** How many keys. */
    @Param("1000000")
    public int keys;

    /** How long values are. */
    @Param({"8", "100", "1024"})
    public int valueBytes;

    private static final int STRIDE = 1009;

    Subject subject;
    Data data;
    byte[] value;
    private Path directory;

    /** Fills it. */
    @Setup(Level.Trial)
    public void open() throws IOException {
        directory = Files.createTempDirectory("alluvium-bench-");
        data = new Data(keys, valueBytes);
        value = data.value();
        subject = engine.equals("alluvium") ? new AlluviumSubject()
                : engine.equals("hashmap") ? new HashMapSubject() : new RocksSubject(engine.equals("rocksdbjni-multiget"));
        subject.open(directory.resolve("store"), data);
        // In another order than they are asked for.
        for (int start = 0; start < STRIDE; start++) {
            for (int place = start; place < keys; place += STRIDE) {
                subject.put(data.keys[place], value);
            }
        }
        check();
    }

    /** A subject that doesn't do its work must not be timed. */
    private void check() {
        byte[][] batch = {data.keys[1], data.absent[1], data.keys[2]};
        subject.update(data.keys[1]);
        subject.updateMany(new byte[][] {data.keys[1], data.keys[2]});
        subject.updateBy(data.keys[1]);
        subject.updateManyBy(new byte[][] {data.keys[2], data.keys[1]});
        boolean right = subject.get(data.keys[1]) == valueBytes
                && subject.get(data.absent[1]) == -1
                && subject.getMany(batch) == 2L * valueBytes - 1
                && subject.first(data.keys[1]) == 4
                && subject.first(data.keys[2]) == 2
                && subject.scan(0) == 16L * keys
                && subject.scan(64) == 16L * keys;
        if (!right) {
            throw new IllegalStateException(engine + " doesn't have what was put");
        }
    }

    /** Removes it. */
    @TearDown(Level.Trial)
    public void close() throws IOException {
        subject.close();
        try (Stream<Path> paths = Files.walk(directory)) {
            paths.sorted(Comparator.reverseOrder()).forEach(path -> path.toFile().delete());
        }
    }
}
