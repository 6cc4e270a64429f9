package io.alluvium.flink.suites;

import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Properties;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

import static org.assertj.core.api.Assertions.assertThat;

/** That each of the suites ran, failed and skipped nothing, and had Alluvium for its backend. */
class SuitesCheck {
    @TestFactory
    Stream<DynamicTest> eachSuite() {
        return Stream.of(System.getProperty("alluvium.suites").split(","))
                .map(suite -> DynamicTest.dynamicTest(suite, () -> check(suite)));
    }

    private static void check(String suite) throws Exception {
        List<Path> records;
        try (Stream<Path> all = Files.list(Path.of(System.getProperty("alluvium.suites.records")))) {
            records = all.filter(record -> ("." + record.getFileName()).endsWith("." + suite + ".properties"))
                    .collect(Collectors.toList());
        }
        assertThat(records).as("records of %s", suite).hasSize(1);
        Properties did = new Properties();
        try (InputStream in = Files.newInputStream(records.get(0))) {
            did.load(in);
        }
        assertThat(number(did, "tests")).as("tests").isPositive();
        assertThat(number(did, "failed")).as("failures").isZero();
        assertThat(number(did, "skipped")).as("skipped tests").isZero();
        assertThat(number(did, "backends")).as("backends that were made").isPositive();
    }

    private static long number(Properties did, String what) {
        return Long.parseLong(did.getProperty(what));
    }
}
