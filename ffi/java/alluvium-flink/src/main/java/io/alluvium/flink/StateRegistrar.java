package io.alluvium.flink;

import io.alluvium.AlluviumException;
import java.util.Map;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.state.StateTtlConfig;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.TypeSerializerSchemaCompatibility;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.base.MapSerializer;
import org.apache.flink.api.common.typeutils.base.MapSerializerSnapshot;
import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;
import org.apache.flink.runtime.state.StateSnapshotTransformer.StateSnapshotTransformFactory;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;
import org.apache.flink.util.StateMigrationException;

/** Makes states known: new ones to the store, and to restored ones the serializers that the job has now, which may need them rewritten. */
final class StateRegistrar {
    private final OpenStore store;
    private final Map<String, RegisteredState> states;
    private final TtlTimeProvider clock;

    StateRegistrar(OpenStore store, Map<String, RegisteredState> states, TtlTimeProvider clock) {
        this.store = store;
        this.states = states;
        this.clock = clock;
    }

    <N, V, E> RegisteredState register(
            TypeSerializer<N> namespaceSerializer,
            StateDescriptor<?, V> descriptor,
            StateSnapshotTransformFactory<E> transforms,
            boolean allowFutureMetadataUpdates)
            throws StateMigrationException {
        RegisteredState known = states.get(descriptor.getName());
        if (known != null && !known.isKeyed()) {
            throw new StateMigrationException("The name of the state, " + descriptor.getName() + ", is that of timers.");
        }
        RegisteredKeyValueStateBackendMetaInfo<N, V> metaInfo;
        if (known == null) {
            metaInfo = new RegisteredKeyValueStateBackendMetaInfo<>(
                    descriptor.getType(), descriptor.getName(), namespaceSerializer, descriptor.getSerializer());
        } else {
            metaInfo = known.keyed();
            update(known, metaInfo, descriptor, namespaceSerializer);
        }
        if (allowFutureMetadataUpdates) {
            metaInfo = metaInfo.withSerializerUpgradesAllowed();
        }
        metaInfo.updateSnapshotTransformFactory(
                SnapshotTransforms.factory(descriptor, transforms, metaInfo.getStateSerializer()));
        RegisteredState registered = register(metaInfo, descriptor.getTtlConfig());
        states.put(descriptor.getName(), registered);
        return registered;
    }

    /** After a migration: until then values need not begin with their time. */
    private RegisteredState register(RegisteredKeyValueStateBackendMetaInfo<?, ?> metaInfo, StateTtlConfig ttl) {
        try {
            return ttl.isEnabled() && ttl.getCleanupStrategies().inRocksdbCompactFilter()
                    ? RegisteredState.register(store.store, metaInfo, ttl.getTimeToLive().toMillis())
                    : RegisteredState.register(store.store, metaInfo);
        } catch (AlluviumException e) {
            throw Failure.of(metaInfo.getName(), e);
        }
    }

    private <N, V> void update(
            RegisteredState known,
            RegisteredKeyValueStateBackendMetaInfo<N, V> metaInfo,
            StateDescriptor<?, V> descriptor,
            TypeSerializer<N> namespaceSerializer)
            throws StateMigrationException {
        // Before the update, after which the old one may not be told any more.
        TypeSerializer<N> oldNamespace = metaInfo.getNamespaceSerializer();
        TypeSerializerSchemaCompatibility<N> namespaces = metaInfo.updateNamespaceSerializer(namespaceSerializer);
        if (namespaces.isCompatibleAfterMigration() || namespaces.isIncompatible()) {
            throw new StateMigrationException("The new namespace serializer (" + namespaceSerializer
                    + ") must be compatible with the old namespace serializer (" + oldNamespace + ").");
        }
        metaInfo.checkStateMetaInfo(descriptor);
        TypeSerializer<V> oldValue = metaInfo.getStateSerializer();
        TypeSerializerSchemaCompatibility<V> values = metaInfo.updateStateSerializer(descriptor.getSerializer());
        if (values.isIncompatible()) {
            throw new StateMigrationException("The new state serializer (" + descriptor.getSerializer()
                    + ") must not be incompatible with the old state serializer (" + oldValue + ").");
        }
        if (values.isCompatibleAfterMigration()) {
            if (descriptor.getType() == StateDescriptor.Type.MAP) {
                checkUserKeys(metaInfo);
            }
            Migration.run(store, known, clock);
        }
    }

    /** User keys are keys of the store, which are not rewritten. */
    private static void checkUserKeys(RegisteredKeyValueStateBackendMetaInfo<?, ?> metaInfo) throws StateMigrationException {
        TypeSerializerSnapshot<?> before = metaInfo.getPreviousStateSerializerSnapshot();
        TypeSerializer<?> after = metaInfo.getStateSerializer();
        if (!(before instanceof MapSerializerSnapshot) || !(after instanceof MapSerializer)) {
            throw new StateMigrationException("The state " + metaInfo.getName() + " is a map without a map's serializer: "
                    + before + ", " + after);
        }
        if (!isSame(((MapSerializerSnapshot<?, ?>) before).getKeySerializerSnapshot(), ((MapSerializer<?, ?>) after).getKeySerializer())) {
            throw new StateMigrationException("The new serializer for a MapState requires state migration in order for the"
                    + " job to proceed, since the key schema has changed. However, migration for MapState currently only"
                    + " allows value schema evolutions.");
        }
    }

    @SuppressWarnings("unchecked")
    private static <T> boolean isSame(TypeSerializerSnapshot<?> before, TypeSerializer<T> after) {
        return after.snapshotConfiguration()
                .resolveSchemaCompatibility((TypeSerializerSnapshot<T>) before)
                .isCompatibleAsIs();
    }
}
