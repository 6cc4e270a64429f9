package io.alluvium.flink;

import io.alluvium.Cursor;
import io.alluvium.Key;
import io.alluvium.State;
import io.alluvium.Writer;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;
import org.apache.flink.runtime.state.ttl.TtlAwareSerializer;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;
import org.apache.flink.util.StateMigrationException;
import org.apache.flink.util.function.SupplierWithException;

/**
 * Rewrites the values of a state when its new serializer writes them otherwise than the one that they were written by; also where they get a
 * time to live, or lose it. Keys, namespaces and user keys stay.
 */
final class Migration<T> {
    private final TtlAwareSerializer<T, ?> before;
    private final TtlAwareSerializer<T, ?> after;
    private final TtlTimeProvider clock;
    private final DataInputDeserializer in = new DataInputDeserializer();
    private final DataOutputSerializer out = new DataOutputSerializer(256);

    private Migration(TtlAwareSerializer<T, ?> before, TtlAwareSerializer<T, ?> after, TtlTimeProvider clock) {
        this.before = before;
        this.after = after;
        this.clock = clock;
    }

    /** Rewrites a state, from the serializer that it was restored with to the one that it has now. */
    static void run(OpenStore store, RegisteredState registered, TtlTimeProvider clock) throws StateMigrationException {
        RegisteredKeyValueStateBackendMetaInfo<?, ?> metaInfo = registered.keyed();
        TypeSerializer<?> before = metaInfo.getPreviousStateSerializer();
        TypeSerializer<?> after = metaInfo.getStateSerializer();
        try (Cursor cursor = store.writer.keysAndNamespaces(registered.state, store.range)) {
            Rewrite rewrite = rewrite(
                    TtlAwareSerializer.wrapTtlAwareSerializer(before),
                    TtlAwareSerializer.wrapTtlAwareSerializer(after),
                    clock);
            Key key = new Key();
            while (cursor.next()) {
                key.set(cursor.key()).namespace(cursor.namespace()).group(cursor.group());
                rewrite.run(store.writer, registered.state, key);
            }
        } catch (IOException | RuntimeException e) {
            throw new StateMigrationException("The values of the state " + metaInfo.getName() + " could not be migrated.", e);
        }
    }

    /** Rewrites what a key holds. */
    private interface Rewrite {
        void run(Writer writer, State state, Key key) throws IOException;
    }

    private static Rewrite rewrite(TtlAwareSerializer<?, ?> before, TtlAwareSerializer<?, ?> after, TtlTimeProvider clock) {
        if (after instanceof TtlAwareSerializer.TtlAwareListSerializer) {
            return of(
                            ((TtlAwareSerializer.TtlAwareListSerializer<?>) before).getElementSerializer(),
                            ((TtlAwareSerializer.TtlAwareListSerializer<?>) after).getElementSerializer(),
                            clock)
                    ::list;
        }
        if (after instanceof TtlAwareSerializer.TtlAwareMapSerializer) {
            return of(
                            ((TtlAwareSerializer.TtlAwareMapSerializer<?, ?>) before).getValueSerializer(),
                            ((TtlAwareSerializer.TtlAwareMapSerializer<?, ?>) after).getValueSerializer(),
                            clock)
                    ::map;
        }
        return of(before, after, clock)::value;
    }

    @SuppressWarnings("unchecked")
    private static <T> Migration<T> of(TtlAwareSerializer<?, ?> before, TtlAwareSerializer<?, ?> after, TtlTimeProvider clock) {
        return new Migration<>((TtlAwareSerializer<T, ?>) before, (TtlAwareSerializer<T, ?>) after, clock);
    }

    private void value(Writer writer, State state, Key key) throws IOException {
        byte[] stored = writer.get(state, key);
        if (stored != null) {
            in.setBuffer(stored);
            out.clear();
            migrate(this::read);
            writer.put(state, key, out.getCopyOfBuffer());
        }
    }

    private void list(Writer writer, State state, Key key) throws IOException {
        List<byte[]> elements = new ArrayList<>();
        for (byte[] stored : writer.list(state, key)) {
            in.setBuffer(stored);
            out.clear();
            migrate(this::read);
            elements.add(out.getCopyOfBuffer());
        }
        writer.putList(state, key, elements);
    }

    private void map(Writer writer, State state, Key key) throws IOException {
        EntryPages pages = new EntryPages(writer, state, () -> key);
        while (pages.hasNext()) {
            EntryPages.Stored stored = pages.next();
            in.setBuffer(stored.value);
            out.clear();
            boolean isNull = in.readBoolean();
            // A null that gets a time to live is a value with a time, as one that is put later; it never expired without.
            boolean isBare = isNull && (before.isTtlEnabled() || !after.isTtlEnabled());
            out.writeBoolean(isBare);
            if (!isBare) {
                migrate(isNull ? () -> null : this::read);
            }
            writer.mapPut(state, key, stored.userKey, out.getCopyOfBuffer());
        }
    }

    private T read() throws IOException {
        return before.deserialize(in);
    }

    private void migrate(SupplierWithException<T, IOException> value) throws IOException {
        try {
            after.migrateValueFromPriorSerializer(before, value, out, clock);
        } catch (RuntimeException e) {
            throw new IOException("a value that the serializers can't carry over", e);
        }
    }
}
