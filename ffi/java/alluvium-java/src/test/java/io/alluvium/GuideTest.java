package io.alluvium;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.tools.DiagnosticCollector;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;

/** The programs of the guide and of the README compile and run, and everything public has its Javadoc. */
class GuideTest {
    private static final Pattern PROGRAM = Pattern.compile("```java\\n(.*?public class (\\w+).*?)```", Pattern.DOTALL);

    @Test
    void theGuidesProgramsRun() throws Exception {
        assertTrue(run(Path.of(System.getProperty("alluvium.test.guide"))) >= 2);
    }

    @Test
    void theReadmesProgramRuns() throws Exception {
        assertEquals(1, run(Path.of(System.getProperty("alluvium.test.readme"))));
    }

    /** Runs the programs of a document, and says how many it has. */
    private static int run(Path document) throws Exception {
        String guide = Files.readString(document);
        Matcher programs = PROGRAM.matcher(guide);
        Path directory = Fixture.directory();
        String classPath = System.getProperty("java.class.path") + File.pathSeparator + directory;
        int found = 0;
        while (programs.find()) {
            found++;
            Path source = directory.resolve(programs.group(2) + ".java");
            Files.writeString(source, programs.group(1));
            int compiled = ToolProvider.getSystemJavaCompiler().run(
                    null, null, null, "--release", "11", "-cp", classPath, "-d", directory.toString(), source.toString());
            assertEquals(0, compiled);
            Matcher says = Pattern.compile(programs.group(2) + " prints:\\n```\\n(.*?)```", Pattern.DOTALL).matcher(guide);
            assertTrue(says.find(), "the guide says what it prints");
            Program program = Program.run(classPath, List.of("-Xcheck:jni", "-Djava.io.tmpdir=" + directory), programs.group(2));
            assertEquals(says.group(1), program.output);
            assertEquals(0, program.code);
            assertFalse(program.output.contains("WARNING"));
        }
        Fixture.delete(directory);
        return found;
    }

    /** By the compiler, which knows better than a pattern what is public. Parameters and what is returned are told of in the text. */
    @Test
    void theCompilerMissesNoDocumentation() throws Exception {
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        DiagnosticCollector<JavaFileObject> said = new DiagnosticCollector<>();
        Path classes = Fixture.directory();
        try (StandardJavaFileManager files = compiler.getStandardFileManager(said, null, null);
                Stream<Path> sources = Files.walk(Path.of(System.getProperty("alluvium.test.sources")))) {
            List<File> all = sources.filter(path -> path.toString().endsWith(".java")).map(Path::toFile).collect(Collectors.toList());
            List<String> options = List.of(
                    "--release", "11", "-proc:none", "-Xdoclint:all/protected", "-Xmaxwarns", "100000", "-d", classes.toString());
            assertTrue(compiler.getTask(null, files, said, options, null, files.getJavaFileObjectsFromFiles(all)).call());
        }
        List<String> missed = said.getDiagnostics().stream()
                .filter(one -> !one.getMessage(null).matches("no @(param|return).*"))
                .map(Object::toString)
                .collect(Collectors.toList());
        assertEquals(List.of(), missed);
        // It does look.
        assertTrue(said.getDiagnostics().size() > 500, said.getDiagnostics().size() + " words");
        Fixture.delete(classes);
    }

    @Test
    void everythingPublicIsDocumented() throws Exception {
        Pattern declaration = Pattern.compile("^( {0,8})public .*(\\{|;|\\($)");
        int seen = 0;
        try (Stream<Path> sources = Files.walk(Path.of(System.getProperty("alluvium.test.sources")))) {
            for (Path source : sources.filter(path -> path.toString().endsWith(".java")).collect(Collectors.toList())) {
                List<String> lines = Files.readAllLines(source);
                for (int at = 0; at < lines.size(); at++) {
                    if (declaration.matcher(lines.get(at)).find()) {
                        seen++;
                        String before = at == 0 ? "" : lines.get(at - 1).strip();
                        String above = before.startsWith("@") ? lines.get(at - 2).strip() : before;
                        assertTrue(above.endsWith("*/") || before.equals("@Override"), source + ":" + (at + 1));
                    }
                }
                assertTrue(lines.size() <= 800, source + " is too long");
            }
        }
        assertTrue(seen > 150, "found " + seen);
    }
}
