package io.alluvium.flink;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.RunnableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.checkpoint.CheckpointType;
import org.apache.flink.runtime.checkpoint.SavepointType;
import org.apache.flink.runtime.checkpoint.SnapshotType;
import org.apache.flink.runtime.jobgraph.JobVertexID;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.CheckpointStorageLocationReference;
import org.apache.flink.runtime.state.IncrementalKeyedStateHandle.HandleAndLocalPath;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.apache.flink.runtime.state.LocalSnapshotDirectoryProviderImpl;
import org.apache.flink.runtime.state.PhysicalStateHandleID;
import org.apache.flink.runtime.state.SnapshotResult;
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

/** Tasks that begin before the files of their checkpoint are here, which a gate holds back from those who bring them. */
@Timeout(60)
class OnDemandTest {
    private static final int KEYS = 500;

    @TempDir
    Path directory;

    private final CountDownLatch gate = new CountDownLatch(1);
    /** Whether those who bring files can't open any. */
    private volatile boolean isDown;
    /** How often they couldn't. */
    private final AtomicInteger refusals = new AtomicInteger();
    /** Whether nothing comes of a file for anybody else. */
    private volatile boolean isStuck;
    /** Somebody reads of such a file. */
    private final CountDownLatch stuck = new CountDownLatch(1);

    private final CountDownLatch over = new CountDownLatch(1);
    private Tasks tasks;
    private KeyedStateHandle checkpoint;
    /** Writes a snapshot. */
    private Thread writing;

    /** A file that nothing comes of until it is closed, or the test is over, whoever is interrupted. */
    private final class Stuck extends FSDataInputStream {
        private volatile boolean closed;

        @Override
        public int read() throws IOException {
            stuck.countDown();
            while (!closed && over.getCount() > 0) {
                try {
                    over.await(1, TimeUnit.MILLISECONDS);
                } catch (InterruptedException e) {
                    // It is not for this that it ends.
                }
            }
            throw new IOException("closed");
        }

        @Override
        public void seek(long position) {}

        @Override
        public long getPos() {
            return 0;
        }

        @Override
        public void close() {
            closed = true;
        }
    }

    /** A file that those who bring files can't open before the gate is. */
    private final class Gated implements StreamStateHandle {
        private static final long serialVersionUID = 1;
        private final transient StreamStateHandle inner;

        Gated(StreamStateHandle inner) {
            this.inner = inner;
        }

        @Override
        public FSDataInputStream openInputStream() throws IOException {
            if (!Thread.currentThread().getName().startsWith("alluvium-restore-")) {
                return isStuck ? new Stuck() : inner.openInputStream();
            }
            if (isDown) {
                refusals.incrementAndGet();
                throw new IOException("the connection is refused");
            }
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
        fill(task, KEYS);
        checkpoint = gated(tasks.checkpoint(task, 1));
        tasks.close(task);
    }

    @AfterEach
    void end() throws Exception {
        over.countDown();
        gate.countDown();
        tasks.close();
    }

    /** The same checkpoint, whose files are held back. It is in nobody's registry: discarded, all of it is gone. */
    private IncrementalRemoteKeyedStateHandle gated(KeyedStateHandle handle) {
        IncrementalRemoteKeyedStateHandle remote = (IncrementalRemoteKeyedStateHandle) handle;
        return new IncrementalRemoteKeyedStateHandle(
                UUID.randomUUID(),
                remote.getKeyGroupRange(),
                remote.getCheckpointId(),
                gated(remote.getSharedState()),
                gated(remote.getPrivateState()),
                remote.getMetaDataStateHandle(),
                remote.getCheckpointedSize());
    }

    private List<HandleAndLocalPath> gated(List<HandleAndLocalPath> files) {
        List<HandleAndLocalPath> all = new ArrayList<>();
        files.forEach(file -> all.add(HandleAndLocalPath.of(new Gated(file.getHandle()), file.getLocalPath())));
        return all;
    }

    private static boolean has(AbstractKeyedStateBackend<Integer> task, int key) {
        return task.getKeyGroupRange().contains(KeyGroupRangeAssignment.assignToKeyGroup(key, Tasks.KEY_GROUPS));
    }

    private static void fill(AbstractKeyedStateBackend<Integer> task, int keys) throws Exception {
        for (int key = 0; key < keys; key++) {
            if (has(task, key)) {
                task.setCurrentKey(key);
                values(task).update("value " + key);
            }
        }
    }

    private static void check(AbstractKeyedStateBackend<Integer> task, int keys) throws Exception {
        for (int key = 0; key < keys; key++) {
            task.setCurrentKey(key);
            assertThat(values(task).value()).isEqualTo("value " + key);
        }
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

    /** A short outage used up how often the store asks for what nobody waits for, and nothing but reads brought anything from then on. */
    @Test
    void whatCouldNotBeBroughtForAWhileIsBroughtLater() throws Exception {
        isDown = true;
        gate.countDown();
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend(), 0, 15, checkpoint);
        Bringing bringing = ((AlluviumKeyedStateBackend<Integer>) task).openStore().bringing();
        IncrementalRemoteKeyedStateHandle remote = (IncrementalRemoteKeyedStateHandle) checkpoint;
        int files = remote.getSharedState().size() + remote.getPrivateState().size();
        assertThat(files).isPositive();
        while (refusals.get() < 5 * files) {
            Thread.sleep(10);
        }
        assertThat(bringing.isDone()).isFalse();
        isDown = false;
        while (!bringing.isDone()) {
            Thread.sleep(10);
        }
        check(task, KEYS);
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
        // It waits for them.
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

    /** Flink deletes what is a checkpoint's own when a later one is complete: the files were gone before they were brought. */
    @Test
    void whatIsTheRestoredCheckpointsOwnIsHereBeforeTheNextOneIsComplete() throws Exception {
        int keys = 10_000;
        AlluviumStateBackend full = backend().setIncremental(false);
        AbstractKeyedStateBackend<Integer> task = tasks.open(full, 0, 15);
        fill(task, keys);
        IncrementalRemoteKeyedStateHandle first = gated(tasks.checkpoint(task, 1));
        assertThat(first.getPrivateState()).isNotEmpty();
        tasks.close(task);
        AbstractKeyedStateBackend<Integer> restored = tasks.open(full, 0, 15, first);
        later(gate::countDown);
        KeyedStateHandle second = tasks.checkpoint(restored, 2);
        first.discardState();
        check(restored, keys);
        tasks.close(restored);
        check(tasks.open(full, 0, 15, second), keys);
    }

    /** Who starts without claiming a checkpoint may delete it after the first full one of the job. */
    @Test
    void nothingIsNeededOfACheckpointThatIsNotClaimedOnceThereIsAFullOne() throws Exception {
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend(), 0, 15, checkpoint);
        later(gate::countDown);
        tasks.snapshot(task, 2, CheckpointType.FULL_CHECKPOINT);
        task.notifyCheckpointComplete(2);
        checkpoint.discardState();
        check(task, KEYS);
    }

    /** Flink deletes the copies on a task's machine when a later checkpoint is complete, whatever that names. */
    @Test
    void localCopiesBesideRemoteOnesAreTakenOverBeforeTheNextCheckpointIsComplete() throws Exception {
        tasks.close();
        tasks = new Tasks(
                directory,
                LocalRecoveryConfig.backupAndRecoveryEnabled(new LocalSnapshotDirectoryProviderImpl(
                        Files.createDirectories(directory.resolve("local")).toFile(), new JobID(), new JobVertexID(), 0)));
        // One thread, so that what comes behind a file that is held back isn't brought either.
        Configuration one = new Configuration();
        one.set(AlluviumOptions.TRANSFER_THREADS, 1);
        AlluviumStateBackend backend = backend().configure(one, getClass().getClassLoader());
        AbstractKeyedStateBackend<Integer> low = tasks.open(backend, 0, 7);
        AbstractKeyedStateBackend<Integer> high = tasks.open(backend, 8, 15);
        fill(low, KEYS);
        fill(high, KEYS);
        KeyedStateHandle remote = gated(tasks.checkpoint(low, 1));
        SnapshotResult<KeyedStateHandle> local = tasks.snapshot(high, 1, CheckpointType.CHECKPOINT);
        local.getJobManagerOwnedSnapshot().registerSharedStates(tasks.registry, 1);
        tasks.close(low);
        tasks.close(high);
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend, 0, 15, remote, local.getTaskLocalSnapshot());
        later(gate::countDown);
        tasks.checkpoint(task, 2);
        local.getTaskLocalSnapshot().discardState();
        check(task, KEYS);
    }

    private RunnableFuture<SnapshotResult<KeyedStateHandle>> start(AbstractKeyedStateBackend<Integer> task, SnapshotType type)
            throws Exception {
        RunnableFuture<SnapshotResult<KeyedStateHandle>> future = task.snapshot(
                2, 2, tasks.factory, new CheckpointOptions(type, CheckpointStorageLocationReference.getDefault()));
        writing = new Thread(future);
        writing.setDaemon(true);
        writing.start();
        return future;
    }

    @Test
    void cancelledCheckpointsDontWaitForFiles() throws Exception {
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend(), 0, 15, checkpoint);
        RunnableFuture<?> future = start(task, CheckpointType.FULL_CHECKPOINT);
        later(() -> future.cancel(true));
        assertThatThrownBy(future::get).isInstanceOf(CancellationException.class);
        writing.join();
    }

    @Test
    void savepointsThatAreStuckAtWhatIsElsewhereAreCancelled() throws Exception {
        isStuck = true;
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend(), 0, 15, checkpoint);
        RunnableFuture<?> future = start(task, SavepointType.savepoint(SavepointFormatType.NATIVE));
        stuck.await();
        future.cancel(true);
        assertThatThrownBy(future::get).isInstanceOf(CancellationException.class);
        writing.join();
    }
}
