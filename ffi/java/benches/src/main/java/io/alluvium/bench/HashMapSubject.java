package io.alluvium.bench;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/** A map on Java's heap, which neither spills nor checkpoints: what all of that costs is the difference. */
final class HashMapSubject implements Subject {
    private final HashMap<ByteBuffer, byte[]> values = new HashMap<>();
    private final HashMap<ByteBuffer, byte[]> lists = new HashMap<>();
    private byte[] into;

    @Override
    public void open(Path directory, Data data) {
        into = data.value();
    }

    @Override
    public int get(byte[] key) {
        byte[] value = values.get(ByteBuffer.wrap(key));
        if (value == null) {
            return -1;
        }
        System.arraycopy(value, 0, into, 0, value.length);
        return value.length;
    }

    @Override
    public void put(byte[] key, byte[] value) {
        values.put(ByteBuffer.wrap(key), value.clone());
    }

    @Override
    public void update(byte[] key) {
        get(key);
        into[0]++;
        put(key, into);
    }

    @Override
    public byte first(byte[] key) {
        get(key);
        return into[0];
    }

    @Override
    public void append(byte[] key, byte[] element) {
        ByteBuffer name = ByteBuffer.wrap(key);
        byte[] old = lists.getOrDefault(name, new byte[0]);
        byte[] joined = java.util.Arrays.copyOf(old, old.length + element.length);
        System.arraycopy(element, 0, joined, old.length, element.length);
        lists.put(name, joined);
    }

    @Override
    public void clear(byte[] key) {
        lists.remove(ByteBuffer.wrap(key));
    }

    @Override
    public long getMany(byte[][] keys) {
        long sum = 0;
        for (byte[] key : keys) {
            sum += get(key);
        }
        return sum;
    }

    @Override
    public void putMany(byte[][] keys, byte[] value) {
        for (byte[] key : keys) {
            put(key, value);
        }
    }

    @Override
    public void updateMany(byte[][] keys) {
        for (byte[] key : keys) {
            update(key);
        }
    }

    @Override
    public void appendMany(byte[][] keys, byte[] element) {
        for (byte[] key : keys) {
            append(key, element);
        }
    }

    @Override
    public long scan(int batch) {
        long sum = 0;
        for (Map.Entry<ByteBuffer, byte[]> entry : values.entrySet()) {
            sum += entry.getKey().remaining();
        }
        return sum;
    }

    @Override
    public void close() {
        values.clear();
        lists.clear();
    }
}
