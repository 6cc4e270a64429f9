package io.alluvium.flink;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.TypeSerializerSchemaCompatibility;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import org.apache.flink.runtime.state.KeyedBackendSerializationProxy;
import org.apache.flink.runtime.state.StateSerializerProvider;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot;
import org.apache.flink.util.StateMigrationException;

/**
 * The stream of a checkpoint that is read first: what Flink keeps of serializers and states, then {@code magic i32 | version i32 | name of the
 * manifest (UTF) | len i32 | the manifest}.
 */
final class MetaStream {
    private static final int MAGIC = 0x414c4c55;
    private static final int VERSION = 1;
    private static final int CHUNK_BYTES = 64 << 10;

    final TypeSerializerSnapshot<?> keySerializer;
    final List<StateMetaInfoSnapshot> states;
    final String manifestName;
    final byte[] manifest;
    /** What Flink keeps, as it is in the stream; null unless {@linkplain #readWhole the whole of it} was read. */
    private final byte[] head;

    private MetaStream(KeyedBackendSerializationProxy<?> proxy, byte[] head, String manifestName, byte[] manifest) {
        keySerializer = proxy.getKeySerializerSnapshot();
        states = proxy.getStateMetaInfoSnapshots();
        this.head = head;
        this.manifestName = manifestName;
        this.manifest = manifest;
    }

    static void write(
            DataOutputView out,
            TypeSerializer<?> keySerializer,
            List<StateMetaInfoSnapshot> states,
            String manifestName,
            byte[] manifest)
            throws IOException {
        // Segments are compressed by themselves.
        new KeyedBackendSerializationProxy<>(keySerializer, states, false).write(out);
        writeManifest(out, manifestName, manifest);
    }

    /** Writes a stream that was {@linkplain #readWhole read as a whole} again, with another manifest. */
    void write(DataOutputView out, String manifestName, byte[] manifest) throws IOException {
        out.write(head);
        writeManifest(out, manifestName, manifest);
    }

    private static void writeManifest(DataOutputView out, String manifestName, byte[] manifest) throws IOException {
        out.writeInt(MAGIC);
        out.writeInt(VERSION);
        out.writeUTF(manifestName);
        out.writeInt(manifest.length);
        out.write(manifest);
    }

    /** Reads the stream, and checks that the key serializer can go on with what is there, if it is given: once, as it takes that over. */
    static <K> MetaStream read(DataInputView in, ClassLoader classLoader, StateSerializerProvider<K> unchecked)
            throws IOException, StateMigrationException {
        // Old serializers need not be there: the new ones may be able to go on without.
        KeyedBackendSerializationProxy<K> proxy = new KeyedBackendSerializationProxy<>(classLoader);
        proxy.read(in);
        if (unchecked != null) {
            check(proxy, unchecked);
        }
        if (in.readInt() != MAGIC) {
            throw new IOException("The checkpoint was not written by an Alluvium state backend;"
                    + " a canonical savepoint leads from one backend to another.");
        }
        return manifest(in, proxy, null);
    }

    /** Reads a stream of which all bytes are here; null where it isn't one of this backend. */
    static MetaStream readWhole(byte[] bytes, ClassLoader classLoader) throws IOException {
        DataInputDeserializer in = new DataInputDeserializer(bytes);
        KeyedBackendSerializationProxy<?> proxy = new KeyedBackendSerializationProxy<>(classLoader);
        proxy.read(in);
        byte[] head = Arrays.copyOf(bytes, in.getPosition());
        if (in.available() < Integer.BYTES || in.readInt() != MAGIC) {
            return null;
        }
        return manifest(in, proxy, head);
    }

    private static MetaStream manifest(DataInputView in, KeyedBackendSerializationProxy<?> proxy, byte[] head)
            throws IOException {
        int version = in.readInt();
        if (version != VERSION) {
            throw new IOException("The checkpoint is of the version " + version + ", this backend reads " + VERSION + ".");
        }
        String name = in.readUTF();
        return new MetaStream(proxy, head, name, bytes(in, in.readInt()));
    }

    /** Takes no more memory than there are bytes, as a damaged length may be any. */
    private static byte[] bytes(DataInputView in, int len) throws IOException {
        if (len < 0) {
            throw new IOException("The checkpoint's manifest has the length " + len + ".");
        }
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(Math.min(len, CHUNK_BYTES));
        byte[] chunk = new byte[Math.min(len, CHUNK_BYTES)];
        while (bytes.size() < len) {
            int next = Math.min(chunk.length, len - bytes.size());
            in.readFully(chunk, 0, next);
            bytes.write(chunk, 0, next);
        }
        return bytes.toByteArray();
    }

    private static <K> void check(KeyedBackendSerializationProxy<K> proxy, StateSerializerProvider<K> provider)
            throws StateMigrationException {
        TypeSerializer<K> current = provider.currentSchemaSerializer();
        TypeSerializerSchemaCompatibility<K> compatibility =
                provider.setPreviousSerializerSnapshotForRestoredState(proxy.getKeySerializerSnapshot());
        if (compatibility.isCompatibleAfterMigration() || compatibility.isIncompatible()) {
            throw new StateMigrationException("The new key serializer (" + current
                    + ") must be compatible with the previous key serializer (" + provider.previousSchemaSerializer()
                    + ").");
        }
    }
}
