package io.alluvium;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.DataInputStream;
import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.jar.JarOutputStream;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.zip.ZipEntry;
import org.junit.jupiter.api.Test;

/** The jar as it is shipped. */
class JarTest {
    /** The type of a section of an ELF file. */
    private static final int SYMBOL_TABLE = 2;

    private static JarFile jar() throws IOException {
        return new JarFile(System.getProperty("alluvium.test.jar"));
    }

    /** What a program does that has the jar. */
    public static final class Use {
        private Use() {}

        /** Writes to a store in a directory, reads from it, and says from where the classes are. */
        public static void main(String[] arguments) {
            System.out.println(Engine.class.getProtectionDomain().getCodeSource().getLocation().getPath());
            Path directory = Path.of(arguments[0]);
            byte[] count = new byte[Long.BYTES];
            try (Engine engine = Engine.open()) {
                Key airport = Key.of("JFK".getBytes(StandardCharsets.UTF_8));
                for (int time = 0; time < 2; time++) {
                    try (Store store = Store.openOrCreate(engine, directory, new StoreOptions()); Writer writer = store.writer()) {
                        State counts = store.state(StateOptions.merging("counts", StateOptions.Operator.I64_ADD));
                        writer.mergeLong(counts, airport, 3);
                        writer.get(counts, airport, count);
                        System.out.println(count[0] + " flights");
                        try (PendingCheckpoint pending = writer.checkpoint(Checkpoint.of(time))) {
                            pending.await();
                        }
                    }
                }
            } catch (RuntimeException failed) {
                System.out.println(failed);
            }
        }
    }

    /** By a program that has this jar, and else only the tests' classes, which have no library. */
    private static Program use(Path jar, Path directory) throws Exception {
        Path tests = Path.of(JarTest.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        return Program.run(jar + File.pathSeparator + tests, List.of(), Use.class.getName(), directory.resolve("store").toString());
    }

    @Test
    void aStoreIsUsedFromTheJar() throws Exception {
        Path directory = Fixture.directory();
        Path jar = Path.of(System.getProperty("alluvium.test.jar")).toAbsolutePath();
        Program program = use(jar, directory);
        assertEquals(jar + "\n3 flights\n6 flights\n", program.output);
        assertEquals(0, program.code);
        Fixture.delete(directory);
    }

    /** Were the classes or the library found elsewhere, the test above would say nothing of the jar. */
    @Test
    void aJarWithoutALibraryIsNoUse() throws Exception {
        Path directory = Fixture.directory();
        Path without = directory.resolve("without.jar");
        try (JarFile jar = jar(); JarOutputStream out = new JarOutputStream(Files.newOutputStream(without))) {
            for (JarEntry entry : Collections.list(jar.entries())) {
                if (!entry.getName().startsWith("native/")) {
                    out.putNextEntry(new JarEntry(entry.getName()));
                    jar.getInputStream(entry).transferTo(out);
                }
            }
        }
        Program program = use(without, directory);
        String lacks = "the jar lacks /native/linux-x86_64/liballuvium_java.so: build it without -Dnative.skip, or name a library by -Dalluvium.native";
        assertEquals(without + "\njava.lang.IllegalStateException: " + lacks + "\n", program.output);
        Fixture.delete(directory);
    }

    @Test
    void everyClassIsOneOfJava11() throws IOException {
        try (JarFile jar = jar()) {
            List<? extends ZipEntry> classes =
                    jar.stream().filter(entry -> entry.getName().endsWith(".class")).collect(Collectors.toList());
            assertTrue(classes.size() > 30);
            for (ZipEntry entry : classes) {
                try (DataInputStream content = new DataInputStream(jar.getInputStream(entry))) {
                    assertEquals(0xCAFEBABE, content.readInt());
                    assertEquals(0, content.readUnsignedShort());
                    assertEquals(55, content.readUnsignedShort(), entry.getName());
                }
            }
            assertEquals("io.alluvium", jar.getManifest().getMainAttributes().getValue("Automatic-Module-Name"));
        }
    }

    /** Whether it has the symbol table that debuggers want, which calls don't need. */
    private static boolean hasSymbols(byte[] library) {
        ByteBuffer elf = ByteBuffer.wrap(library).order(ByteOrder.LITTLE_ENDIAN);
        int sections = (int) elf.getLong(0x28);
        int sectionBytes = elf.getShort(0x3A);
        int count = elf.getShort(0x3C);
        assertTrue(count > 10);
        for (int number = 0; number < count; number++) {
            if (elf.getInt(sections + number * sectionBytes + 4) == SYMBOL_TABLE) {
                return true;
            }
        }
        return false;
    }

    @Test
    void theLibraryRunsOnGlibcOf2020() throws IOException {
        try (JarFile jar = jar()) {
            for (String platform : NativeLibrary.PLATFORMS) {
                ZipEntry entry = jar.getEntry("native/" + platform + "/liballuvium_java.so");
                byte[] library = jar.getInputStream(entry).readAllBytes();
                // Versions of symbols are strings of the library.
                String content = new String(library, StandardCharsets.ISO_8859_1);
                assertTrue(content.startsWith("\u007fELF"));
                Matcher versions = Pattern.compile("GLIBC_(\\d+)\\.(\\d+)").matcher(content);
                int newest = 0;
                while (versions.find()) {
                    assertEquals(2, Integer.parseInt(versions.group(1)));
                    newest = Math.max(newest, Integer.parseInt(versions.group(2)));
                }
                assertTrue(2 < newest && newest <= 31, "needs glibc 2." + newest);
                assertFalse(hasSymbols(library), "stripped");
                assertTrue(content.contains("Java_io_alluvium_Native_writerGet"));
                assertTrue(library.length < 8 << 20, library.length + " bytes");
            }
        }
    }
}
