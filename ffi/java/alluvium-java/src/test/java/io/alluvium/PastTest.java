package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static io.alluvium.Fixture.text;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The past, read while the store goes on, and keys that are brought back to it. */
class PastTest {
    private Fixture fixture;
    private long openBefore;
    private State values;
    private State lists;
    private State maps;

    @BeforeEach
    void open() {
        openBefore = Engine.openObjects();
        fixture = new Fixture(new StoreOptions()
                .durability(Durability.CHANGELOG)
                .changelogFileBytes(1 << 20)
                .historyCheckpoints(2));
        values = fixture.store.state(StateOptions.value("values"));
        lists = fixture.store.state(StateOptions.list("lists"));
        maps = fixture.store.state(StateOptions.map("maps"));
    }

    @AfterEach
    void close() {
        fixture.close();
        assertEquals(openBefore, Engine.openObjects());
    }

    private static Key key(String name) {
        return new Key().set(bytes(name));
    }

    private static List<String> entries(List<Entry> entries) {
        return entries.stream()
                .map(entry -> text(entry.userKey()) + "=" + text(entry.value()))
                .collect(Collectors.toList());
    }

    @Test
    void valuesExpireByItsClock() {
        State brief = fixture.store.state(StateOptions.value("brief").ttl(100, false));
        fixture.checkpoint(7);
        try (Writer writer = fixture.store.writer()) {
            writer.setTimeMs(1_000);
            writer.put(brief, bytes("JFK"), bytes("late"));
            try (Past past = fixture.store.asOfPosition(fixture.store.position())) {
                writer.delete(brief, bytes("JFK"));
                assertEquals("late", text(past.get(brief, key("JFK"))));
                past.setTimeMs(1_099);
                assertEquals("late", text(past.get(brief, key("JFK"))));
                past.setTimeMs(1_101);
                assertNull(past.get(brief, key("JFK")));
                assertThrows(AlluviumException.class, () -> past.setTimeMs(-1));
            }
        }
    }

    @Test
    void itIsReadAndBroughtBack() {
        Store store = fixture.store;
        try (Writer writer = store.writer(store.range())) {
            writer.put(values, bytes("JFK"), bytes("1"));
            writer.append(lists, key("JFK"), bytes("a"));
            writer.mapPut(maps, key("JFK"), bytes("605"), bytes("late"));
            writer.mapPut(maps, key("JFK"), bytes("606"), bytes("on time"));
            long first = fixture.checkpoint(7).position();
            assertTrue(first > 0);
            writer.put(values, bytes("JFK"), bytes("2"));
            writer.put(values, bytes("JAX"), bytes("new"));
            writer.append(lists, key("JFK"), bytes("b"));
            long second = store.position();
            assertTrue(second > first);
            writer.put(values, bytes("JFK"), bytes("3"));
            writer.mapDelete(maps, key("JFK"), bytes("605"));

            try (Snapshot then = store.asOf(7)) {
                assertEquals("1", text(then.get(values, bytes("JFK"))));
                assertNull(then.get(values, bytes("JAX")));
            }
            AlluviumException unknown = assertThrows(AlluviumException.class, () -> store.asOf(8));
            assertEquals(Status.CHECKPOINT, unknown.status());
            assertTrue(unknown.getMessage().contains("[7]"), unknown.getMessage());

            try (Past past = store.asOfPosition(second)) {
                assertEquals(second, past.position());
                assertEquals("2", text(past.get(values, key("JFK"))));
                assertEquals(2, past.list(lists, key("JFK")).size());
                assertEquals("late", text(past.mapGet(maps, key("JFK"), bytes("605"))));
                byte[] into = new byte[4];
                assertEquals(4, past.mapGet(maps, key("JFK"), bytes("605"), into));
                assertEquals("late", text(into));
                assertEquals(7, past.mapGet(maps, key("JFK"), bytes("606"), into));
                assertEquals("late", text(into));
                assertEquals(-1, past.mapGet(maps, key("JFK"), bytes("607"), into));
                assertEquals(List.of("605=late", "606=on time"), entries(past.entries(maps, key("JFK"), MapRange.all())));
                assertEquals(List.of(), past.entries(maps, key("JAX"), MapRange.all()));
            }
            AlluviumException beyond = assertThrows(AlluviumException.class, () -> store.asOfPosition(Long.MAX_VALUE));
            assertEquals(Status.POSITION, beyond.status());

            RolledBack done = writer.rollbackKeys(maps, List.of(key("JFK"), key("JAX")), AsOf.position(second));
            assertEquals(1, done.keys());
            assertEquals(1, done.changes());
            assertTrue(done.bytes() > 0);
            assertEquals("late", text(writer.mapGet(maps, key("JFK"), bytes("605"))));
            done = writer.rollbackPrefix(values, store.range(), bytes("J"), AsOf.label(7));
            assertEquals(2, done.keys());
            assertEquals("1", text(writer.get(values, bytes("JFK"))));
            assertNull(writer.get(values, bytes("JAX")));
            assertEquals(0, writer.rollbackPrefix(values, store.range(), bytes("J"), AsOf.label(7)).changes());
            AlluviumException gone =
                    assertThrows(AlluviumException.class, () -> writer.rollbackKeys(values, List.of(), AsOf.label(9)));
            assertEquals(Status.CHECKPOINT, gone.status());
        }
    }
}
