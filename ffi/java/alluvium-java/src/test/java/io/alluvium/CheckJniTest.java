package io.alluvium;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.lang.annotation.Annotation;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * What {@code -Xcheck:jni} has to say of the native library is nothing. It ends a process for errors alone, and warnings go to its standard output, where nobody
 * looks: so the tests that use every part of the interface, the random ones and those of threads among them, run once more where somebody does.
 */
class CheckJniTest {
    private static final List<Class<?>> TESTS = List.of(
            ValuesTest.class, BuffersTest.class, ContainersTest.class, KeyGroupsTest.class, BatchesTest.class, CheckpointsTest.class,
            ChangelogTest.class, PastTest.class, EventsTest.class, RepairTest.class, RecoveryTest.class, PacingTest.class,
            OptionsTest.class, StillOpenTest.class, MisuseTest.class, ModelTest.class, ThreadsTest.class, ClosingTest.class,
            VirtualThreadsTest.class);

    private static List<Method> methods(Class<?> test, Class<? extends Annotation> annotated) {
        List<Method> found = new ArrayList<>();
        for (Method method : test.getDeclaredMethods()) {
            if (method.isAnnotationPresent(annotated)) {
                method.setAccessible(true);
                found.add(method);
            }
        }
        return found;
    }

    /** Those that this Java can run. */
    private static List<Class<?>> tests() {
        boolean virtual = Runtime.version().feature() >= VirtualThreadsTest.SINCE;
        return TESTS.stream().filter(test -> virtual || test != VirtualThreadsTest.class).collect(Collectors.toList());
    }

    private static int count() {
        return tests().stream().mapToInt(test -> methods(test, Test.class).size()).sum();
    }

    /** Runs the tests. What they write by Java is kept for the one that fails, so that what is left is the virtual machine's. */
    public static final class Runner {
        private Runner() {}

        /** Says how many there were. */
        public static void main(String[] arguments) throws Throwable {
            PrintStream output = System.out;
            for (Class<?> test : tests()) {
                for (Method method : methods(test, Test.class)) {
                    ByteArrayOutputStream said = new ByteArrayOutputStream();
                    System.setOut(new PrintStream(said, true));
                    try {
                        run(test, method);
                    } catch (InvocationTargetException failed) {
                        throw new AssertionError(method + " said:\n" + said, failed.getCause());
                    }
                }
            }
            output.println(count() + " tests");
        }

        private static void run(Class<?> test, Method method) throws ReflectiveOperationException {
            Constructor<?> constructor = test.getDeclaredConstructor();
            constructor.setAccessible(true);
            Object object = constructor.newInstance();
            for (Method before : methods(test, BeforeEach.class)) {
                before.invoke(object);
            }
            method.invoke(object);
            for (Method after : methods(test, AfterEach.class)) {
                after.invoke(object);
            }
        }
    }

    @Test
    void itHasNothingToSay() throws Exception {
        Program program = Program.run(
                System.getProperty("java.class.path"), List.of("-Xcheck:jni", "-Xmx512m"), Runner.class.getName());
        List<String> said = program.output.lines()
                .filter(line -> line.startsWith("WARNING") || line.startsWith("FATAL"))
                .collect(Collectors.toList());
        assertEquals(List.of(), said, program.output);
        assertEquals(count() + " tests\n", program.output);
        assertEquals(0, program.code);
    }
}
