package io.alluvium.flink;

import java.nio.file.Path;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import static org.assertj.core.api.Assertions.assertThat;

/** Which memory the stores of two subtasks have: they share one engine, whose budget is where the options say. */
class MemoryTest {
    private static final long MIB = 1L << 20;

    @TempDir
    Path directory;

    private Tasks tasks;

    @AfterEach
    void end() throws Exception {
        tasks.close();
    }

    /** The budget that both have, if it is the same engine's. */
    private long budget(Configuration job, Configuration taskManager) throws Exception {
        tasks = new Tasks(directory, LocalRecoveryConfig.BACKUP_AND_RECOVERY_DISABLED, taskManager);
        job.set(AlluviumOptions.LOCAL_DIRECTORIES, directory.resolve("stores").toString());
        AlluviumStateBackend backend = new AlluviumStateBackend().configure(job, getClass().getClassLoader());
        AbstractKeyedStateBackend<Integer> one = tasks.open(backend, 0, 7);
        AbstractKeyedStateBackend<Integer> other = tasks.open(backend, 8, 15);
        SlotEngine engine = engine(one);
        assertThat(engine(other)).isSameAs(engine);
        return engine.engine().budgetBytes();
    }

    private static SlotEngine engine(AbstractKeyedStateBackend<Integer> backend) {
        return ((AlluviumKeyedStateBackend<Integer>) backend).openStore().engine();
    }

    @Test
    void managed() throws Exception {
        assertThat(budget(new Configuration(), new Configuration())).isPositive();
    }

    @Test
    void fixedPerSlot() throws Exception {
        Configuration job = new Configuration();
        job.set(AlluviumOptions.FIXED_PER_SLOT, MemorySize.ofMebiBytes(8));
        assertThat(budget(job, new Configuration())).isEqualTo(8 * MIB);
    }

    @Test
    void fixedPerTaskManager() throws Exception {
        Configuration job = new Configuration();
        job.set(AlluviumOptions.MANAGED_MEMORY, false);
        Configuration taskManager = new Configuration();
        taskManager.set(AlluviumOptions.FIXED_PER_TASK_MANAGER, MemorySize.ofMebiBytes(12));
        assertThat(budget(job, taskManager)).isEqualTo(12 * MIB);
    }

    @Test
    void neither() throws Exception {
        Configuration job = new Configuration();
        job.set(AlluviumOptions.MANAGED_MEMORY, false);
        assertThat(budget(job, new Configuration())).isEqualTo(256 * MIB);
    }
}
