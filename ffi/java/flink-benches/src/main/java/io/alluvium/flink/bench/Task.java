package io.alluvium.flink.bench;

import io.alluvium.flink.AlluviumStateBackend;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.SplittableRandom;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.state.State;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;
import org.apache.flink.runtime.operators.testutils.MockEnvironment;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyedStateBackendParametersImpl;
import org.apache.flink.runtime.state.StateBackend;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.hashmap.HashMapStateBackend;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;
import org.apache.flink.state.rocksdb.EmbeddedRocksDBStateBackend;
import org.apache.flink.util.FileUtils;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.TearDown;

/** A task with one of the backends, and the keys that it is at in turn. All backends have the same managed memory. */
@org.openjdk.jmh.annotations.State(Scope.Benchmark)
public class Task {
    private static final int KEY_GROUPS = 128;

    /** Which. */
    public enum Backend {
        /** This one. */
        ALLUVIUM {
            @Override
            StateBackend make(Path directory) {
                return new AlluviumStateBackend().setLocalDirectories(directory.toString());
            }
        },
        /** Flink's, as it is configured for incremental checkpoints. */
        ROCKSDB {
            @Override
            StateBackend make(Path directory) {
                EmbeddedRocksDBStateBackend backend = new EmbeddedRocksDBStateBackend(true);
                backend.setDbStoragePath(directory.toString());
                return backend;
            }
        },
        /** Objects on the heap. */
        HASHMAP {
            @Override
            StateBackend make(Path directory) {
                return new HashMapStateBackend();
            }
        };

        abstract StateBackend make(Path directory);
    }

    /** The backend. */
    @Param
    public Backend backend;

    /** How many keys have state. */
    @Param("500000")
    public int keys;

    /** The managed memory, in MiB. */
    @Param("1024")
    public int memory;

    private final SplittableRandom random = new SplittableRandom(1);
    private AbstractKeyedStateBackend<Long> keyed;
    private MockEnvironment env;
    private Path directory;
    private long fresh;

    /** Opens the backend, in the thread that uses it. */
    void open() throws Exception {
        directory = Files.createTempDirectory("bench-flink");
        env = MockEnvironment.builder().setManagedMemorySize((long) memory << 20).build();
        keyed = (AbstractKeyedStateBackend<Long>) backend.make(directory)
                .createKeyedStateBackend(new KeyedStateBackendParametersImpl<>(
                        env,
                        new JobID(),
                        "operator",
                        LongSerializer.INSTANCE,
                        KEY_GROUPS,
                        new KeyGroupRange(0, KEY_GROUPS - 1),
                        env.getTaskKvStateRegistry(),
                        TtlTimeProvider.DEFAULT,
                        new UnregisteredMetricsGroup(),
                        (name, value) -> {},
                        List.of(),
                        new CloseableRegistry(),
                        1.0));
        fresh = keys;
    }

    AbstractKeyedStateBackend<Long> keyed() {
        return keyed;
    }

    <S extends State> S state(StateDescriptor<S, ?> descriptor) throws Exception {
        return keyed.getPartitionedState(VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, descriptor);
    }

    long random(int below) {
        return random.nextInt(below);
    }

    /** Goes to a key that has state, any. */
    long any() {
        long key = random.nextInt(keys);
        keyed.setCurrentKey(key);
        return key;
    }

    /** Goes to this key. */
    void at(long key) {
        keyed.setCurrentKey(key);
    }

    /** Goes to a key that nobody was at. */
    void unseen() {
        keyed.setCurrentKey(fresh++);
    }

    /** Closes everything. */
    @TearDown(Level.Trial)
    public void close() throws Exception {
        keyed.close();
        keyed.dispose();
        env.close();
        delete(directory);
    }

    private static void delete(Path directory) throws IOException {
        FileUtils.deleteDirectory(directory.toFile());
    }
}
