package io.alluvium.flink;

import io.alluvium.Key;
import io.alluvium.State;
import io.alluvium.Writer;
import java.lang.reflect.Field;
import java.nio.file.Path;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.IntSerializer;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import static org.assertj.core.api.Assertions.assertThat;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.Mockito.mock;
import static org.mockito.Mockito.when;

/** A value that doesn't fit at the first try is read once more, and compaction may have removed it in between: then there is none. */
class PurgedStatesTest {
    @TempDir
    Path directory;

    private Tasks tasks;
    private AbstractKeyedStateBackend<Integer> task;
    private final Writer writer = mock(Writer.class);

    @BeforeEach
    void begin() throws Exception {
        tasks = new Tasks(directory, LocalRecoveryConfig.BACKUP_AND_RECOVERY_DISABLED);
        task = tasks.open(
                new AlluviumStateBackend().setLocalDirectories(directory.resolve("stores").toString()), 0, 15);
        task.setCurrentKey(1);
    }

    @AfterEach
    void end() throws Exception {
        tasks.close();
    }

    /** A state whose operations come to what the writer says. */
    private <S extends org.apache.flink.api.common.state.State> S state(StateDescriptor<S, ?> descriptor) throws Exception {
        S state = task.getPartitionedState(VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, descriptor);
        Field field = AbstractAlluviumState.class.getDeclaredField("writer");
        field.setAccessible(true);
        field.set(state, writer);
        return state;
    }

    @Test
    void values() throws Exception {
        for (int len : new int[] {1_000, 10 << 20}) {
            when(writer.get(any(State.class), any(Key.class), any(byte[].class))).thenReturn(len, -1);
            assertThat(state(new ValueStateDescriptor<>("values", StringSerializer.INSTANCE)).value())
                    .isNull();
        }
    }

    @Test
    void entries() throws Exception {
        when(writer.mapGet(any(State.class), any(Key.class), any(byte[].class), any(byte[].class)))
                .thenReturn(1_000);
        assertThat(state(new MapStateDescriptor<>("maps", IntSerializer.INSTANCE, StringSerializer.INSTANCE)).get(7))
                .isNull();
    }
}
