package io.alluvium;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** Random operations beside maps in memory, with a budget so small that most of it is on disk, through checkpoints and reopenings. */
class ModelTest {
    /** The variable replays a failure. */
    private final long seed = Long.parseLong(
            System.getenv().getOrDefault("ALLUVIUM_TEST_SEED", Long.toString(System.nanoTime())));

    private final Random random = new Random(seed);
    private final TreeMap<String, byte[]> values = new TreeMap<>();
    private final TreeMap<String, List<byte[]>> lists = new TreeMap<>();
    private final TreeMap<String, TreeMap<String, byte[]>> maps = new TreeMap<>();
    private final Key key = new Key();
    private Fixture fixture;
    private Writer writer;
    private State valueState;
    private State listState;
    private State mapState;

    private void openAll() {
        writer = fixture.store.writer();
        valueState = fixture.store.state(StateOptions.value("values"));
        listState = fixture.store.state(StateOptions.list("lists"));
        mapState = fixture.store.state(StateOptions.map("maps"));
    }

    private byte[] bytes(int max) {
        byte[] bytes = new byte[random.nextInt(max)];
        random.nextBytes(bytes);
        return bytes;
    }

    private String name() {
        return "key " + random.nextInt(3_000);
    }

    private Key key(String name) {
        key.set(Fixture.bytes(name));
        // Some are in a namespace, some of a key group of the host's, always the same ones.
        if (name.hashCode() % 3 == 0) {
            key.namespace(Fixture.bytes("space"));
        }
        if (name.hashCode() % 5 == 0) {
            key.group(Math.floorMod(name.hashCode(), 128));
        }
        return key;
    }

    private void change() {
        String name = name();
        String userKey = "u" + random.nextInt(20);
        switch (random.nextInt(10)) {
            case 0:
                values.remove(name);
                writer.delete(valueState, key(name));
                break;
            case 1:
                lists.remove(name);
                writer.delete(listState, key(name));
                break;
            case 2:
            case 3: {
                byte[] element = bytes(200);
                lists.computeIfAbsent(name, none -> new ArrayList<>()).add(element);
                writer.append(listState, key(name), element);
                break;
            }
            case 4:
                maps.computeIfAbsent(name, none -> new TreeMap<>()).remove(userKey);
                writer.mapDelete(mapState, key(name), Fixture.bytes(userKey));
                break;
            case 5:
            case 6: {
                byte[] value = bytes(300);
                maps.computeIfAbsent(name, none -> new TreeMap<>()).put(userKey, value);
                writer.mapPut(mapState, key(name), Fixture.bytes(userKey), value);
                break;
            }
            case 7: {
                byte[] added = bytes(10);
                values.merge(name, added, ModelTest::joined);
                writer.update(valueState, key(name), old -> old == null ? added : joined(old, added));
                break;
            }
            default: {
                byte[] value = bytes(2_000);
                values.put(name, value);
                writer.put(valueState, key(name), value);
                break;
            }
        }
    }

    private static byte[] joined(byte[] first, byte[] second) {
        byte[] joined = Arrays.copyOf(first, first.length + second.length);
        System.arraycopy(second, 0, joined, first.length, second.length);
        return joined;
    }

    private void compare(String name, ReadView view) {
        assertArrayEquals(values.get(name), writer.get(valueState, key(name)), name);
        assertArrayEquals(values.get(name), view.get(valueState, key(name)), name);
        List<byte[]> list = lists.getOrDefault(name, List.of());
        for (List<byte[]> found : List.of(writer.list(listState, key(name)), view.list(listState, key(name)))) {
            assertEquals(list.size(), found.size(), name);
            for (int place = 0; place < list.size(); place++) {
                assertArrayEquals(list.get(place), found.get(place), name);
            }
        }
        TreeMap<String, byte[]> map = maps.getOrDefault(name, new TreeMap<>());
        try (Cursor cursor = writer.entries(mapState, key(name), MapRange.all())) {
            for (String userKey : map.keySet()) {
                assertEquals(true, cursor.next(), name);
                assertEquals(userKey, Fixture.text(cursor.userKey()), name);
                assertArrayEquals(map.get(userKey), cursor.value(), name);
                assertArrayEquals(map.get(userKey), view.mapGet(mapState, key(name), Fixture.bytes(userKey)), name);
            }
            assertEquals(false, cursor.next(), name);
        }
    }

    @Test
    void everythingIsAsInTheModel() {
        System.out.println("seed " + seed);
        fixture = new Fixture(new StoreOptions(), 6L << 20);
        openAll();
        for (int round = 0; round < 8; round++) {
            for (int step = 0; step < 2_500; step++) {
                change();
            }
            if (round % 2 == 1) {
                writer.close();
                fixture.checkpoint(round);
                fixture.reopen(new StoreOptions());
                openAll();
            }
            try (Reader reader = fixture.store.reader(); Snapshot snapshot = fixture.store.snapshot()) {
                for (int probe = 0; probe < 300; probe++) {
                    compare(name(), probe % 2 == 0 ? reader : snapshot);
                }
            }
        }
        for (int number = 0; number < 3_000; number++) {
            assertArrayEquals(values.get("key " + number), writer.get(valueState, key("key " + number)), "seed " + seed);
        }
        writer.close();
        fixture.close();
    }
}
