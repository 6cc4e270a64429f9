package io.alluvium;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** Where the library is found, and what is said where there is none. */
class PlatformTest {
    /** Opens an engine, twice, and says what came of it. */
    public static final class Open {
        private Open() {}

        /** The program. */
        public static void main(String[] arguments) {
            for (int time = 0; time < 2; time++) {
                try (Engine engine = Engine.open()) {
                    System.out.println("opened " + engine.budgetBytes());
                } catch (UnsupportedPlatformException unsupported) {
                    System.out.println("unsupported: " + unsupported.getMessage());
                }
            }
        }
    }

    private static Program open(String... options) throws Exception {
        return Program.run(System.getProperty("java.class.path"), List.of(options), "io.alluvium.PlatformTest$Open");
    }

    @Test
    void platformsAreToldApart() {
        assertEquals("linux-x86_64", NativeLibrary.platform("Linux", "amd64"));
        assertEquals("linux-x86_64", NativeLibrary.platform("Linux", "x86_64"));
        assertEquals("linux-aarch64", NativeLibrary.platform("Linux", "aarch64"));
        for (String[] other : new String[][] {{"Linux", "arm"}, {"Mac OS X", "aarch64"}, {"Mac OS X", "x86_64"}, {"Windows 11", "amd64"}, {"", ""}}) {
            UnsupportedPlatformException error = assertThrows(
                    UnsupportedPlatformException.class, () -> NativeLibrary.platform(other[0], other[1]));
            assertTrue(error.getMessage().contains(other[0]) && error.getMessage().contains("linux-x86_64"), error.getMessage());
        }
    }

    @Test
    void anUnsupportedPlatformIsSaidToBeEachTime() throws Exception {
        Program program = open("-Dos.arch=riscv64");
        String line = "unsupported: alluvium has no native library for Linux on riscv64; there is one for linux-x86_64\n";
        assertEquals(line + line, program.output);
        assertEquals(0, program.code);
    }

    /** A jar may have been built with a library for it: that one is for another machine than this. */
    @Test
    void aarch64IsUnsupportedUnlessItWasBuilt() throws Exception {
        boolean built = NativeLibrary.class.getResource("/native/linux-aarch64/liballuvium_java.so") != null;
        Program program = open("-Dos.arch=aarch64");
        String expected = built
                ? "unsupported: the native library can't be loaded: "
                : "unsupported: alluvium has no native library for Linux on aarch64; there is one for linux-x86_64";
        List<String> lines = program.output.lines().collect(Collectors.toList());
        assertEquals(2, lines.size(), program.output);
        assertTrue(lines.stream().allMatch(line -> line.startsWith(expected)), program.output);
        assertEquals(0, program.code);
    }

    @Test
    void aLibraryCanBeNamed() throws Exception {
        Path directory = Fixture.directory();
        Path library = directory.resolve("mine.so");
        try (InputStream packed = NativeLibrary.class.getResourceAsStream("/native/linux-x86_64/liballuvium_java.so")) {
            Files.copy(packed, library);
        }
        assertEquals("opened 268435456\nopened 268435456\n", open("-Dalluvium.native=" + library).output);
        Files.write(library, new byte[100]);
        Program broken = open("-Dalluvium.native=" + library);
        assertTrue(broken.output.contains("unsupported: the native library can't be loaded: "), broken.output);
        Fixture.delete(directory);
    }

    @Test
    void noCopyIsLeftBehind() throws Exception {
        Path temporary = Fixture.directory();
        assertEquals("opened 268435456\nopened 268435456\n", open("-Djava.io.tmpdir=" + temporary).output);
        assertEquals(0, temporary.toFile().list().length);
        Fixture.delete(temporary);
    }
}
