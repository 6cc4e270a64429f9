package io.alluvium.flink;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.runtime.checkpoint.CheckpointType;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.IncrementalKeyedStateHandle.HandleAndLocalPath;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.apache.flink.runtime.state.PhysicalStateHandleID;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.util.FlinkRuntimeException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

/** Tasks that begin before the files of their checkpoint are here, which a gate holds back. */
@Timeout(60)
class OnDemandTest {
    private static final int KEYS = 500;

    @TempDir
    Path directory;

    private final CountDownLatch gate = new CountDownLatch(1);
    private Tasks tasks;
    private KeyedStateHandle checkpoint;

    /** A file that can't be opened before the gate is. */
    private final class Gated implements StreamStateHandle {
        private static final long serialVersionUID = 1;
        private final transient StreamStateHandle inner;

        Gated(StreamStateHandle inner) {
            this.inner = inner;
        }

        @Override
        public FSDataInputStream openInputStream() throws IOException {
            try {
                gate.await();
            } catch (InterruptedException e) {
                throw new InterruptedIOException();
            }
            return inner.openInputStream();
        }

        @Override
        public Optional<byte[]> asBytesIfInMemory() {
            return Optional.empty();
        }

        @Override
        public PhysicalStateHandleID getStreamStateHandleID() {
            return inner.getStreamStateHandleID();
        }

        @Override
        public void discardState() throws Exception {
            inner.discardState();
        }

        @Override
        public long getStateSize() {
            return inner.getStateSize();
        }
    }

    @BeforeEach
    void begin() throws Exception {
        tasks = new Tasks(directory, LocalRecoveryConfig.BACKUP_AND_RECOVERY_DISABLED);
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend(), 0, 15);
        for (int key = 0; key < KEYS; key++) {
            task.setCurrentKey(key);
            values(task).update("value " + key);
        }
        IncrementalRemoteKeyedStateHandle handle = (IncrementalRemoteKeyedStateHandle) tasks.checkpoint(task, 1);
        tasks.close(task);
        List<HandleAndLocalPath> files = new ArrayList<>();
        for (HandleAndLocalPath file : handle.getSharedState()) {
            files.add(HandleAndLocalPath.of(new Gated(file.getHandle()), file.getLocalPath()));
        }
        checkpoint = new IncrementalRemoteKeyedStateHandle(
                UUID.randomUUID(),
                handle.getKeyGroupRange(),
                1,
                files,
                new ArrayList<>(),
                handle.getMetaDataStateHandle(),
                handle.getCheckpointedSize());
    }

    @AfterEach
    void end() throws Exception {
        tasks.close();
    }

    private AlluviumStateBackend backend() {
        return new AlluviumStateBackend()
                .setLocalDirectories(directory.resolve("stores").toString())
                .setRestoreOnDemand(true);
    }

    private static ValueState<String> values(AbstractKeyedStateBackend<Integer> backend) throws Exception {
        return backend.getPartitionedState(
                VoidNamespace.INSTANCE,
                VoidNamespaceSerializer.INSTANCE,
                new ValueStateDescriptor<>("values", StringSerializer.INSTANCE));
    }

    private static void later(Runnable what) {
        Thread thread = new Thread(() -> {
            try {
                Thread.sleep(200);
            } catch (InterruptedException e) {
                return;
            }
            what.run();
        });
        thread.setDaemon(true);
        thread.start();
    }

    @Test
    void writesGoOnAndReadsWait() throws Exception {
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend(), 0, 15, checkpoint);
        task.setCurrentKey(3);
        values(task).update("new");
        assertThat(values(task).value()).isEqualTo("new");
        later(gate::countDown);
        for (int key = 0; key < KEYS; key++) {
            task.setCurrentKey(key);
            assertThat(values(task).value()).isEqualTo(key == 3 ? "new" : "value " + key);
        }
    }

    @Test
    void checkpointsNeedNoFileThatIsElsewhere() throws Exception {
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend(), 0, 15, checkpoint);
        task.setCurrentKey(3);
        values(task).update("new");
        // It names the files by placeholders.
        KeyedStateHandle next = tasks.snapshot(task, 2, CheckpointType.CHECKPOINT).getJobManagerOwnedSnapshot();
        assertThat(next.getStateSize()).isPositive();
        gate.countDown();
        // It copies them from where they are.
        KeyedStateHandle full =
                tasks.snapshot(task, 3, CheckpointType.FULL_CHECKPOINT).getJobManagerOwnedSnapshot();
        tasks.close(task);
        AbstractKeyedStateBackend<Integer> restored = tasks.open(backend(), 0, 15, full);
        for (int key = 0; key < KEYS; key++) {
            restored.setCurrentKey(key);
            assertThat(values(restored).value()).isEqualTo(key == 3 ? "new" : "value " + key);
        }
    }

    @Test
    void cancelledTasksDontWait() throws Exception {
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend(), 0, 15, checkpoint);
        task.setCurrentKey(7);
        later(() -> {
            try {
                task.close();
            } catch (IOException e) {
                throw new AssertionError(e);
            }
        });
        assertThatThrownBy(() -> values(task).value())
                .isInstanceOf(FlinkRuntimeException.class)
                .hasMessageContaining("ABSENT");
        // Whoever comes later doesn't either.
        assertThatThrownBy(() -> values(task).value()).hasMessageContaining("ABSENT");
    }
}
