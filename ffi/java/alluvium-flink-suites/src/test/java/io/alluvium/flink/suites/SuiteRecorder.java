package io.alluvium.flink.suites;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.apache.flink.state.rocksdb.EmbeddedRocksDBStateBackendFactory;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.TestSource;
import org.junit.platform.engine.support.descriptor.ClassSource;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;

/** Writes down what each suite did, for {@link SuitesCheck}: JUnit finds it by itself. */
public final class SuiteRecorder implements TestExecutionListener {
    private final Map<String, Suite> suites = new TreeMap<>();
    private final Path records;
    private TestPlan plan;
    private long madeBefore;

    /** What one did. */
    private static final class Suite {
        private int tests;
        private int skipped;
        private int failed;
        private long made;

        @Override
        public String toString() {
            return "tests=" + tests + "\nskipped=" + skipped + "\nfailed=" + failed + "\nbackends=" + made + "\n";
        }
    }

    /** Writes into the directory that the build names. */
    public SuiteRecorder() {
        String directory = System.getProperty("alluvium.suites.records");
        records = directory == null ? null : Path.of(directory);
    }

    @Override
    public synchronized void testPlanExecutionStarted(TestPlan started) {
        plan = started;
    }

    @Override
    public synchronized void executionStarted(TestIdentifier test) {
        if (test.isTest()) {
            madeBefore = EmbeddedRocksDBStateBackendFactory.made();
        }
    }

    @Override
    public synchronized void executionSkipped(TestIdentifier test, String reason) {
        suite(test).skipped++;
    }

    @Override
    public synchronized void executionFinished(TestIdentifier test, TestExecutionResult result) {
        if (test.isTest() || result.getStatus() != TestExecutionResult.Status.SUCCESSFUL) {
            Suite suite = suite(test);
            suite.tests++;
            suite.made += EmbeddedRocksDBStateBackendFactory.made() - madeBefore;
            madeBefore = EmbeddedRocksDBStateBackendFactory.made();
            suite.skipped += result.getStatus() == TestExecutionResult.Status.ABORTED ? 1 : 0;
            suite.failed += result.getStatus() == TestExecutionResult.Status.FAILED ? 1 : 0;
        }
    }

    private Suite suite(TestIdentifier test) {
        String name = "unknown";
        for (Optional<TestIdentifier> at = Optional.of(test); at.isPresent(); at = plan.getParent(at.get())) {
            TestSource source = at.get().getSource().orElse(null);
            if (source instanceof MethodSource) {
                name = ((MethodSource) source).getClassName();
                break;
            }
            if (source instanceof ClassSource) {
                name = ((ClassSource) source).getClassName();
                break;
            }
        }
        return suites.computeIfAbsent(name, unseen -> new Suite());
    }

    @Override
    public synchronized void testPlanExecutionFinished(TestPlan finished) {
        if (records == null) {
            return;
        }
        try {
            Files.createDirectories(records);
            for (Map.Entry<String, Suite> suite : suites.entrySet()) {
                Files.writeString(records.resolve(suite.getKey() + ".properties"), suite.getValue().toString());
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        suites.clear();
    }
}
