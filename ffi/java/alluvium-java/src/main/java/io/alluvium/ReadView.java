package io.alluvium;

/** What readers and snapshots have in common. */
abstract class ReadView extends PointView {
    private final Cursor.View view = new Cursor.View(this::fetch);

    ReadView(int kind, long handle, Store store) {
        super(kind, handle, store);
    }

    abstract long fetch(long cursor, long into, int capacity);

    /** A cursor of the keys of a state in a range of key groups, each once, whatever namespaces it has. */
    public Cursor keys(State state, KeyGroupRange range) {
        return Cursor.keys(store, this, view, state, range);
    }

    /** A cursor of the keys that a state has in one namespace. */
    public Cursor keys(State state, KeyGroupRange range, byte[] namespace) {
        return Cursor.keysIn(store, this, view, state, range, namespace);
    }

    /** A cursor of the pairs of key and namespace of a state. */
    public Cursor keysAndNamespaces(State state, KeyGroupRange range) {
        return Cursor.keysAndNamespaces(store, this, view, state, range);
    }

    /** A cursor of the entries of a map. */
    public Cursor entries(State state, Key key, MapRange range) {
        return Cursor.entries(store, this, view, state, key, range);
    }
}
