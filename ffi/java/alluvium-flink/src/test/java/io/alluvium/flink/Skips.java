package io.alluvium.flink;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.extension.AfterAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.TestWatcher;

import static org.assertj.core.api.Assertions.assertThat;

/** Fails where one of Flink's suites skips a test that it isn't {@linkplain Known known} to skip. */
final class Skips implements TestWatcher, AfterAllCallback {
    private final Set<String> skipped = new TreeSet<>();

    /** Which tests of a suite are skipped, wholly or in some modes. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.TYPE)
    @interface Known {
        /** The names of their methods. */
        String[] value();
    }

    @Override
    public void testAborted(ExtensionContext context, Throwable cause) {
        skipped.add(context.getRequiredTestMethod().getName());
    }

    @Override
    public void testDisabled(ExtensionContext context, Optional<String> reason) {
        skipped.add(context.getRequiredTestMethod().getName());
    }

    @Override
    public void afterAll(ExtensionContext context) {
        Known known = context.getRequiredTestClass().getDeclaredAnnotation(Known.class);
        assertThat(skipped).isSubsetOf(known == null ? Set.of() : Set.of(known.value()));
    }
}
