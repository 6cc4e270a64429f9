package io.alluvium.bench;

import io.alluvium.Cursor;
import io.alluvium.Engine;
import io.alluvium.EngineOptions;
import io.alluvium.Keys;
import io.alluvium.State;
import io.alluvium.StateOptions;
import io.alluvium.Store;
import io.alluvium.StoreOptions;
import io.alluvium.Values;
import io.alluvium.Writer;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.nio.file.Path;

/** This engine. */
final class AlluviumSubject implements Subject {
    private static final VarHandle LONG = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

    private Engine engine;
    private Store store;
    private Writer writer;
    private State values;
    private State lists;
    private byte[] into;
    private final Keys keys = new Keys();
    private final Values found = new Values();
    private final Values given = new Values();

    @Override
    public void open(Path directory, Data data) {
        engine = Engine.open(new EngineOptions().memoryBudgetBytes(4L << 30));
        store = Store.create(engine, directory, new StoreOptions());
        values = store.state(StateOptions.value("values"));
        lists = store.state(StateOptions.list("lists"));
        writer = store.writer();
        into = data.value();
    }

    @Override
    public int get(byte[] key) {
        return writer.get(values, key, into);
    }

    @Override
    public void put(byte[] key, byte[] value) {
        writer.put(values, key, value);
    }

    @Override
    public void update(byte[] key) {
        writer.get(values, key, into);
        LONG.set(into, 0, (long) LONG.get(into, 0) + 1);
        writer.put(values, key, into);
    }

    private static byte[] added(byte[] value) {
        LONG.set(value, 0, (long) LONG.get(value, 0) + 1);
        return value;
    }

    @Override
    public void updateBy(byte[] key) {
        writer.update(values, key, AlluviumSubject::added);
    }

    @Override
    public byte first(byte[] key) {
        writer.get(values, key, into);
        return into[0];
    }

    @Override
    public void append(byte[] key, byte[] element) {
        writer.append(lists, key, element);
    }

    @Override
    public void clear(byte[] key) {
        writer.delete(lists, key);
    }

    private void pack(byte[][] batch) {
        keys.clear();
        for (byte[] key : batch) {
            keys.add(key);
        }
    }

    @Override
    public long getMany(byte[][] batch) {
        pack(batch);
        writer.getMany(values, keys, found);
        long sum = 0;
        for (int place = 0; place < batch.length; place++) {
            sum += found.get(place, into);
        }
        return sum;
    }

    @Override
    public void putMany(byte[][] batch, byte[] value) {
        pack(batch);
        given.clear();
        for (int place = 0; place < batch.length; place++) {
            given.add(value);
        }
        writer.putMany(values, keys, given);
    }

    @Override
    public void updateMany(byte[][] batch) {
        pack(batch);
        writer.getMany(values, keys, found);
        given.clear();
        for (int place = 0; place < batch.length; place++) {
            found.get(place, into);
            LONG.set(into, 0, (long) LONG.get(into, 0) + 1);
            given.add(into);
        }
        writer.putMany(values, keys, given);
    }

    @Override
    public void updateManyBy(byte[][] batch) {
        pack(batch);
        writer.updateMany(values, keys, (index, old) -> added(old));
    }

    @Override
    public void appendMany(byte[][] batch, byte[] element) {
        pack(batch);
        given.clear();
        for (int place = 0; place < batch.length; place++) {
            given.add(element);
        }
        writer.appendMany(lists, keys, given);
    }

    @Override
    public long scan(int batch) {
        byte[] key = new byte[16];
        long sum = 0;
        try (Cursor cursor = writer.keys(values, store.range())) {
            if (batch > 0) {
                cursor.setBatch(batch, 1 << 20);
            }
            while (cursor.next()) {
                sum += cursor.key(key);
            }
        }
        return sum;
    }

    @Override
    public void close() {
        writer.close();
        store.close();
        engine.close();
    }
}
