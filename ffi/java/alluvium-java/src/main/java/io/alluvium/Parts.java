package io.alluvium;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.ByteBuffer;

/**
 * Copies of parts of buffers, which are left as they are. Java has had methods for that since 16; before, each copy takes a view of the buffer, an object that
 * compilers don't spare.
 */
final class Parts {
    private static final MethodHandle TO_BUFFER = method("put", int.class, ByteBuffer.class, int.class, int.class);
    private static final MethodHandle TO_ARRAY = method("get", int.class, byte[].class, int.class, int.class);

    private Parts() {}

    /** A method of this Java's; null where it has none. */
    private static MethodHandle method(String name, Class<?>... arguments) {
        try {
            return MethodHandles.publicLookup().findVirtual(
                    ByteBuffer.class, name, MethodType.methodType(ByteBuffer.class, arguments));
        } catch (ReflectiveOperationException none) {
            return null;
        }
    }

    static void copy(ByteBuffer from, int begin, ByteBuffer into, int at, int len) {
        if (TO_BUFFER == null) {
            copyByView(from, begin, into, at, len);
            return;
        }
        try {
            ByteBuffer ignored = (ByteBuffer) TO_BUFFER.invokeExact(into, at, from, begin, len);
        } catch (Throwable error) {
            throw thrown(error);
        }
    }

    static void copy(ByteBuffer from, int begin, byte[] into, int at, int len) {
        if (TO_ARRAY == null) {
            copyByView(from, begin, into, at, len);
            return;
        }
        try {
            ByteBuffer ignored = (ByteBuffer) TO_ARRAY.invokeExact(from, begin, into, at, len);
        } catch (Throwable error) {
            throw thrown(error);
        }
    }

    static void copyByView(ByteBuffer from, int begin, ByteBuffer into, int at, int len) {
        ByteBuffer view = from.duplicate();
        view.limit(begin + len).position(begin);
        ByteBuffer target = into.duplicate();
        target.position(at);
        target.put(view);
    }

    static void copyByView(ByteBuffer from, int begin, byte[] into, int at, int len) {
        ByteBuffer view = from.duplicate();
        view.position(begin);
        view.get(into, at, len);
    }

    /** What these methods throw is unchecked. */
    private static RuntimeException thrown(Throwable error) {
        if (error instanceof Error) {
            throw (Error) error;
        }
        return error instanceof RuntimeException ? (RuntimeException) error : new IllegalStateException(error);
    }
}
