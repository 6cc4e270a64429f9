package io.alluvium;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** How {@code build-native} calls Cargo, by a program in Cargo's place that says what it was called with. */
class BuildNativeTest {
    private static final Path SCRIPT = Path.of(System.getProperty("alluvium.test.build"));

    private static void program(Path path, String... lines) throws IOException {
        Files.createDirectories(path.getParent());
        Files.write(path, List.of(lines));
        assertTrue(path.toFile().setExecutable(true));
    }

    /** The tools where the script looks for them: of the right version, so that it fetches none. */
    private static void tools(Path target) throws IOException {
        Matcher version = Pattern.compile("(?m)^zigbuild_version=(.+)$").matcher(Files.readString(SCRIPT));
        assertTrue(version.find());
        program(target.resolve("zig/bin/cargo-zigbuild"), "#!/bin/sh", "echo cargo-zigbuild " + version.group(1));
        program(
                target.resolve("zig/bin/cargo"),
                "#!/bin/sh",
                "echo \"$*\"",
                "echo \"flags: [${CARGO_ENCODED_RUSTFLAGS-those of all other places}]\"",
                "release=$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu/release",
                "mkdir -p \"$release\"",
                "echo a library >\"$release/liballuvium_java.so\"");
    }

    /**
     * The jar's library isn't made for the processor of the machine that builds it, whatever flags its owner has set. Where this variable is set, and
     * be it to nothing, Cargo looks at no other place for flags.
     */
    @Test
    void theCallersFlagsAreNotTheLibrarys() throws Exception {
        Path directory = Fixture.directory();
        Path target = directory.resolve("target");
        tools(target);
        ProcessBuilder builder = new ProcessBuilder(SCRIPT.toString(), directory.resolve("out").toString()).redirectErrorStream(true);
        builder.environment().put("CARGO_TARGET_DIR", target.toString());
        builder.environment().remove("ALLUVIUM_PLATFORMS");
        for (String flags : new String[] {"CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS"}) {
            builder.environment().put(flags, "-Ctarget-cpu=native");
        }
        Process process = builder.start();
        List<String> said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).lines()
                .collect(Collectors.toList());
        assertEquals(0, process.waitFor(), said.toString());
        assertEquals(List.of("zigbuild --quiet --release -p alluvium-java --target x86_64-unknown-linux-gnu.2.31", "flags: []"), said);
        assertEquals("a library\n", Files.readString(directory.resolve("out/linux-x86_64/liballuvium_java.so")));
        Fixture.delete(directory);
    }
}
