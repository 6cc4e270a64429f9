package io.alluvium.flink.suites;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.state.api.OperatorIdentifier;
import org.apache.flink.state.api.OperatorTransformation;
import org.apache.flink.state.api.SavepointReader;
import org.apache.flink.state.api.SavepointWriter;
import org.apache.flink.state.api.StateBootstrapTransformation;
import org.apache.flink.state.api.functions.KeyedStateBootstrapFunction;
import org.apache.flink.state.api.functions.KeyedStateReaderFunction;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.util.CloseableIterator;
import org.apache.flink.util.Collector;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import static org.assertj.core.api.Assertions.assertThat;

/** Savepoints that the State Processor API makes of nothing, and reads, with each of two backends. */
class BootstrapITCase {
    private static final long KEYS = 100;
    private static final String UID = "operator";

    @TempDir
    Path directory;

    private static ValueStateDescriptor<Long> values() {
        return new ValueStateDescriptor<>("values", Types.LONG);
    }

    private static ListStateDescriptor<Long> lists() {
        return new ListStateDescriptor<>("lists", Types.LONG);
    }

    private static MapStateDescriptor<Long, String> maps() {
        return new MapStateDescriptor<>("maps", Types.LONG, Types.STRING);
    }

    /** Fills three kinds of state, and sets a timer. */
    private static final class Fill extends KeyedStateBootstrapFunction<Long, Long> {
        private static final long serialVersionUID = 1;

        private transient ValueState<Long> value;
        private transient ListState<Long> list;
        private transient MapState<Long, String> map;

        @Override
        public void open(OpenContext context) {
            value = getRuntimeContext().getState(values());
            list = getRuntimeContext().getListState(lists());
            map = getRuntimeContext().getMapState(maps());
        }

        @Override
        public void processElement(Long key, Context context) throws Exception {
            value.update(2 * key);
            list.update(List.of(key, key + 1));
            map.put(key, "of " + key);
            context.timerService().registerEventTimeTimer(1_000 + key);
        }
    }

    /** Tells all of it. */
    private static final class Read extends KeyedStateReaderFunction<Long, String> {
        private static final long serialVersionUID = 1;

        private transient ValueState<Long> value;
        private transient ListState<Long> list;
        private transient MapState<Long, String> map;

        @Override
        public void open(OpenContext context) {
            value = getRuntimeContext().getState(values());
            list = getRuntimeContext().getListState(lists());
            map = getRuntimeContext().getMapState(maps());
        }

        @Override
        public void readKey(Long key, Context context, Collector<String> out) throws Exception {
            List<Long> elements = new ArrayList<>();
            list.get().forEach(elements::add);
            out.collect(told(key, value.value(), elements, map.get(key), context.registeredEventTimeTimers().toString()));
        }
    }

    private static String told(long key, long value, List<Long> list, String entry, String timers) {
        return key + ": " + value + " " + list + " " + entry + " " + timers;
    }

    private static StreamExecutionEnvironment environment(String backend) {
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment(
                new Configuration().set(StateBackendOptions.STATE_BACKEND, backend));
        environment.setParallelism(2);
        return environment;
    }

    /** The name {@code rocksdb} stands for Alluvium here. */
    @ParameterizedTest
    @CsvSource({"rocksdb, rocksdb", "rocksdb, hashmap", "hashmap, rocksdb"})
    void writtenAndRead(String writer, String reader) throws Exception {
        String path = directory.resolve("savepoint").toUri().toString();
        StreamExecutionEnvironment writing = environment(writer);
        StateBootstrapTransformation<Long> filled = OperatorTransformation.bootstrapWith(writing.fromSequence(0, KEYS - 1))
                .keyBy(key -> key, Types.LONG)
                .transform(new Fill());
        SavepointWriter.newSavepoint(writing, 128).withOperator(OperatorIdentifier.forUid(UID), filled).write(path);
        writing.execute();

        List<String> read = new ArrayList<>();
        try (CloseableIterator<String> all = SavepointReader.read(environment(reader), path)
                .readKeyedState(OperatorIdentifier.forUid(UID), new Read())
                .executeAndCollect()) {
            all.forEachRemaining(read::add);
        }
        List<String> expected = LongStream.range(0, KEYS)
                .mapToObj(key ->
                        told(key, 2 * key, List.of(key, key + 1), "of " + key, "[" + (1_000 + key) + "]"))
                .collect(Collectors.toList());
        assertThat(read).containsExactlyInAnyOrderElementsOf(expected);
    }
}
