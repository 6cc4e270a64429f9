package io.alluvium;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;

/**
 * Finds and loads the native library: the file that the system property {@code alluvium.native} names, else the one for this
 * platform that is in the jar.
 *
 * <p>A file can be loaded by one class loader alone. So each load has a copy of its own, which nobody else can have in use; it is
 * deleted as soon as it is loaded, and the operating system keeps what is mapped.
 */
final class NativeLibrary {
    /** The platforms that the jar has a library for. Another one that has a name is looked for in it, as who builds it may add that. */
    static final String[] PLATFORMS = {"linux-x86_64"};

    private static final RuntimeException FAILURE = load();

    private NativeLibrary() {}

    /** Fails where the library could not be loaded, every time with the reason. */
    static void ensureLoaded() {
        if (FAILURE instanceof UnsupportedPlatformException) {
            throw new UnsupportedPlatformException(FAILURE.getMessage(), FAILURE.getCause());
        }
        if (FAILURE != null) {
            throw new IllegalStateException(FAILURE.getMessage(), FAILURE);
        }
    }

    private static RuntimeException load() {
        try {
            String named = System.getProperty("alluvium.native");
            if (named != null) {
                System.load(Paths.get(named).toAbsolutePath().toString());
            } else {
                loadCopy(System.getProperty("os.name", ""), System.getProperty("os.arch", ""));
            }
            if (Native.interfaceVersion() != Native.INTERFACE_VERSION) {
                return new IllegalStateException("the native library is of another version of alluvium-java");
            }
            return null;
        } catch (UnsatisfiedLinkError error) {
            return new UnsupportedPlatformException(
                    "the native library can't be loaded: " + error.getMessage()
                            + " (it needs glibc 2.31 or later, and a directory for temporary files whose files may be mapped"
                            + " as code; -Djava.io.tmpdir names another)",
                    error);
        } catch (IOException error) {
            return new IllegalStateException("the native library can't be copied out of the jar: " + error, error);
        } catch (RuntimeException error) {
            return error;
        }
    }

    /** The directory's name of a platform, as the Java properties {@code os.name} and {@code os.arch} describe it. */
    static String platform(String os, String architecture) {
        boolean linux = os.equalsIgnoreCase("linux");
        if (linux && (architecture.equals("amd64") || architecture.equals("x86_64"))) {
            return "linux-x86_64";
        }
        if (linux && architecture.equals("aarch64")) {
            return "linux-aarch64";
        }
        throw unsupported(os, architecture);
    }

    private static UnsupportedPlatformException unsupported(String os, String architecture) {
        return new UnsupportedPlatformException(
                "alluvium has no native library for " + os + " on " + architecture + "; there is one for "
                        + String.join(", ", PLATFORMS),
                null);
    }

    private static void loadCopy(String os, String architecture) throws IOException {
        String platform = platform(os, architecture);
        String resource = "/native/" + platform + "/liballuvium_java.so";
        boolean shipped = Arrays.asList(PLATFORMS).contains(platform);
        if (!shipped && NativeLibrary.class.getResource(resource) == null) {
            throw unsupported(os, architecture);
        }
        Path copy = Files.createTempFile("alluvium-", ".so");
        try {
            try (InputStream library = NativeLibrary.class.getResourceAsStream(resource)) {
                if (library == null) {
                    throw new IllegalStateException(
                            "the jar lacks " + resource + ": build it without -Dnative.skip, or name a library by -Dalluvium.native");
                }
                Files.copy(library, copy, StandardCopyOption.REPLACE_EXISTING);
            }
            System.load(copy.toString());
        } finally {
            Files.deleteIfExists(copy);
        }
    }
}
