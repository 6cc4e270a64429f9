package io.alluvium.bench;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.BloomFilter;
import org.rocksdb.ByteBufferGetStatus;
import org.rocksdb.ColumnFamilyDescriptor;
import org.rocksdb.ColumnFamilyHandle;
import org.rocksdb.ColumnFamilyOptions;
import org.rocksdb.DBOptions;
import org.rocksdb.InfoLogLevel;
import org.rocksdb.LRUCache;
import org.rocksdb.ReadOptions;
import org.rocksdb.RocksDB;
import org.rocksdb.RocksDBException;
import org.rocksdb.RocksIterator;
import org.rocksdb.Status;
import org.rocksdb.StringAppendOperator;
import org.rocksdb.WriteBatch;
import org.rocksdb.WriteOptions;

/**
 * RocksDB, set up as state backends do it: no write-ahead log, a column family for each state, filters, a block cache and memtables with room
 * for all of the data; single calls on arrays that are used again, batches on direct buffers.
 */
final class RocksSubject implements Subject {
    static {
        RocksDB.loadLibrary();
    }

    private final List<AutoCloseable> open = new ArrayList<>();
    private final WriteOptions write = new WriteOptions().setDisableWAL(true);
    private final ReadOptions read = new ReadOptions();
    private final WriteBatch batch = new WriteBatch();
    /** Whether batches are read by multi-get, which is the slower way where memory has everything. */
    private final boolean multiGet;

    private RocksDB db;
    private ColumnFamilyHandle values;
    private ColumnFamilyHandle lists;
    private byte[] into;
    private int valueBytes;
    private List<ByteBuffer> keyBuffers = List.of();
    private List<ByteBuffer> valueBuffers = List.of();

    RocksSubject(boolean multiGet) {
        this.multiGet = multiGet;
    }

    private static IllegalStateException failed(RocksDBException error) {
        return new IllegalStateException(error);
    }

    private <T extends AutoCloseable> T kept(T object) {
        open.add(object);
        return object;
    }

    private ColumnFamilyOptions options() {
        BlockBasedTableConfig tables = new BlockBasedTableConfig()
                .setBlockCache(kept(new LRUCache(2L << 30)))
                .setFilterPolicy(kept(new BloomFilter(10)))
                .setCacheIndexAndFilterBlocks(true)
                .setPinL0FilterAndIndexBlocksInCache(true);
        return kept(new ColumnFamilyOptions())
                .setWriteBufferSize(64 << 20)
                .setMaxWriteBufferNumber(4)
                .setLevelCompactionDynamicLevelBytes(true)
                .setMergeOperator(kept(new StringAppendOperator("")))
                .setTableFormatConfig(tables);
    }

    @Override
    public void open(Path directory, Data data) {
        DBOptions options = kept(new DBOptions())
                .setCreateIfMissing(true)
                .setCreateMissingColumnFamilies(true)
                .setMaxBackgroundJobs(2)
                .setInfoLogLevel(InfoLogLevel.HEADER_LEVEL)
                .setStatsDumpPeriodSec(0);
        List<ColumnFamilyHandle> handles = new ArrayList<>();
        try {
            db = RocksDB.open(
                    options,
                    directory.toString(),
                    List.of(new ColumnFamilyDescriptor(RocksDB.DEFAULT_COLUMN_FAMILY, options()),
                            new ColumnFamilyDescriptor("lists".getBytes(), options())),
                    handles);
        } catch (RocksDBException error) {
            throw failed(error);
        }
        values = handles.get(0);
        lists = handles.get(1);
        valueBytes = data.valueBytes;
        into = data.value();
    }

    @Override
    public int get(byte[] key) {
        try {
            return db.get(values, read, key, into);
        } catch (RocksDBException error) {
            throw failed(error);
        }
    }

    @Override
    public void put(byte[] key, byte[] value) {
        try {
            db.put(values, write, key, value);
        } catch (RocksDBException error) {
            throw failed(error);
        }
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
        try {
            db.merge(lists, write, key, element);
        } catch (RocksDBException error) {
            throw failed(error);
        }
    }

    @Override
    public void clear(byte[] key) {
        try {
            db.delete(lists, write, key);
        } catch (RocksDBException error) {
            throw failed(error);
        }
    }

    private static List<ByteBuffer> buffers(int count, int bytes) {
        List<ByteBuffer> buffers = new ArrayList<>();
        for (int place = 0; place < count; place++) {
            buffers.add(ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder()));
        }
        return buffers;
    }

    /** Reads many into direct buffers, which are left at the values' beginnings, and says how many bytes they have. */
    private long find(byte[][] keys) {
        if (keyBuffers.size() != keys.length) {
            keyBuffers = buffers(keys.length, 16);
            valueBuffers = buffers(keys.length, valueBytes);
        }
        for (int place = 0; place < keys.length; place++) {
            keyBuffers.get(place).clear().put(keys[place]).flip();
            valueBuffers.get(place).clear();
        }
        long sum = 0;
        try {
            for (ByteBufferGetStatus found : db.multiGetByteBuffers(read, keyBuffers, valueBuffers)) {
                sum += found.status.getCode() == Status.Code.Ok ? found.requiredSize : -1;
            }
        } catch (RocksDBException error) {
            throw failed(error);
        }
        return sum;
    }

    @Override
    public long getMany(byte[][] keys) {
        if (!multiGet) {
            long sum = 0;
            for (byte[] key : keys) {
                sum += get(key);
            }
            return sum;
        }
        long sum = find(keys);
        for (ByteBuffer value : valueBuffers) {
            value.get(into, 0, Math.min(into.length, value.remaining()));
        }
        return sum;
    }

    @Override
    public void putMany(byte[][] keys, byte[] value) {
        try {
            batch.clear();
            for (byte[] key : keys) {
                batch.put(values, key, value);
            }
            db.write(write, batch);
        } catch (RocksDBException error) {
            throw failed(error);
        }
    }

    @Override
    public void updateMany(byte[][] keys) {
        if (multiGet) {
            find(keys);
        }
        try {
            batch.clear();
            for (int place = 0; place < keys.length; place++) {
                if (multiGet) {
                    valueBuffers.get(place).get(into, 0, Math.min(into.length, valueBuffers.get(place).remaining()));
                } else {
                    get(keys[place]);
                }
                into[0]++;
                batch.put(values, keys[place], into);
            }
            db.write(write, batch);
        } catch (RocksDBException error) {
            throw failed(error);
        }
    }

    @Override
    public void appendMany(byte[][] keys, byte[] element) {
        try {
            batch.clear();
            for (byte[] key : keys) {
                batch.merge(lists, key, element);
            }
            db.write(write, batch);
        } catch (RocksDBException error) {
            throw failed(error);
        }
    }

    @Override
    public long scan(int batch) {
        ByteBuffer key = ByteBuffer.allocateDirect(16);
        long sum = 0;
        try (RocksIterator iterator = db.newIterator(values, read)) {
            for (iterator.seekToFirst(); iterator.isValid(); iterator.next()) {
                key.clear();
                sum += iterator.key(key);
            }
        }
        return sum;
    }

    @Override
    public void close() {
        values.close();
        lists.close();
        db.close();
        batch.close();
        read.close();
        write.close();
        for (AutoCloseable object : open) {
            try {
                object.close();
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        }
    }
}
