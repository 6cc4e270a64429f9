package io.alluvium;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;

/** What threads of later Javas than the one that these classes are compiled for are. */
final class Threads {
    private static final MethodHandle IS_VIRTUAL = isVirtualMethod();

    private Threads() {}

    /** Of Java 21 and later; null before. */
    private static MethodHandle isVirtualMethod() {
        try {
            return MethodHandles.publicLookup().findVirtual(Thread.class, "isVirtual", MethodType.methodType(boolean.class));
        } catch (ReflectiveOperationException none) {
            return null;
        }
    }

    /** Whether the calling thread is carried by others, of which the library knows. */
    static boolean isVirtual() {
        if (IS_VIRTUAL == null) {
            return false;
        }
        try {
            return (boolean) IS_VIRTUAL.invokeExact(Thread.currentThread());
        } catch (Throwable error) {
            throw new IllegalStateException(error);
        }
    }
}
