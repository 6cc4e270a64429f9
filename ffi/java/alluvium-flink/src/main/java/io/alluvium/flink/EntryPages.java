package io.alluvium.flink;

import io.alluvium.Cursor;
import io.alluvium.Key;
import io.alluvium.MapRange;
import io.alluvium.State;
import io.alluvium.Writer;
import java.util.ArrayList;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.function.Supplier;

/**
 * Goes through a map's entries a page at a time. Nothing stays open between two pages, as an iterator of Flink's may be left alone, and the map
 * may change: what is put behind the page is found, what is deleted there is not.
 */
final class EntryPages {
    /** The first page is short, as most maps are; what comes after is a long map. */
    private static final int FIRST_PAGE = 64;

    private static final int PAGE = 1024;
    private static final int PAGE_BYTES = 1 << 20;

    /** An entry in bytes. */
    static final class Stored {
        final byte[] userKey;
        final byte[] value;

        private Stored(byte[] userKey, byte[] value) {
            this.userKey = userKey;
            this.value = value;
        }
    }

    private final Writer writer;
    private final State state;
    private final Supplier<Key> container;
    private List<Stored> page = new ArrayList<>();
    private int at;
    private boolean begun;
    private boolean ended;

    /** The container is asked for before each page, and is the same each time. */
    EntryPages(Writer writer, State state, Supplier<Key> container) {
        this.writer = writer;
        this.state = state;
        this.container = container;
    }

    boolean hasNext() {
        if (at == page.size() && !ended) {
            fetch();
        }
        return at < page.size();
    }

    Stored next() {
        if (!hasNext()) {
            throw new NoSuchElementException();
        }
        return page.get(at++);
    }

    private void fetch() {
        Page next = page(writer, state, container.get(), begun ? page.get(page.size() - 1).userKey : null);
        page = next.entries;
        ended = next.isLast;
        at = 0;
        begun = true;
    }

    /** Entries that lie together in a map. */
    static final class Page {
        final List<Stored> entries = new ArrayList<>();
        /** Whether there are none behind them. */
        boolean isLast;
    }

    /** The entries above a user key, up to a page of them; null: from the first on. */
    static Page page(Writer writer, State state, Key container, byte[] above) {
        MapRange range = above == null ? MapRange.all() : MapRange.all().above(above);
        int records = above == null ? FIRST_PAGE : PAGE;
        Page page = new Page();
        try (Cursor cursor = writer.entries(state, container, range)) {
            cursor.setBatch(records, PAGE_BYTES);
            int bytes = 0;
            while (page.entries.size() < records && bytes < PAGE_BYTES) {
                if (!cursor.next()) {
                    page.isLast = true;
                    break;
                }
                Stored stored = new Stored(cursor.userKey(), cursor.value());
                bytes += stored.userKey.length + stored.value.length;
                page.entries.add(stored);
            }
        }
        return page;
    }
}
