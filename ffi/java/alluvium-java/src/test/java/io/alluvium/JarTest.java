package io.alluvium;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.DataInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.jar.JarFile;
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
