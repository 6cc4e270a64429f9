package io.alluvium.flink;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import org.apache.flink.configuration.ConfigConstants;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.GlobalConfiguration;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.plugin.PluginUtils;

/** {@link CheckpointRepair} as a program. */
public final class RepairCheckpoint {
    private static final String USAGE = String.join(
            System.lineSeparator(),
            "Makes a new checkpoint of a retained one, with key groups or keys of some operators rolled back or removed.",
            "",
            "  --checkpoint PATH       the checkpoint: its directory, or the _metadata in it",
            "  --from PATH             the older checkpoint, which is gone back to",
            "  --output PATH           the new checkpoint's directory, which isn't there yet",
            "  --work-directory PATH   where there is room for a subtask's state (that of temporary files)",
            "  --dry-run               writes nothing, and says what would be done",
            "",
            "for each operator that is to be repaired:",
            "  --operator NAME         its uid, its id (32 hexadecimal digits), or its name",
            "  --key-groups 3-7,12     its key groups, or",
            "  --key TEXT              one of its keys, a text or a whole number; again for more, or",
            "  --key-hex DIGITS        the same by the bytes that the key's serializer makes",
            "  --state NAME            this state of them alone; again for more",
            "  --remove                they don't go back, but are removed",
            "",
            "Input that came in between the two checkpoints for what goes back is lost unless it is replayed separately.");

    private CheckpointRepair repair;
    private String checkpoint;
    private String from;
    private String output;
    private Path workDirectory;
    private boolean isDry;

    private RepairCheckpoint() {}

    /** Runs it: 0 where it did what was asked, 1 where that is refused or failed, 2 where it isn't understood. */
    public static void main(String[] arguments) throws IOException {
        // Other file systems than the local one come as plugins, as they do for Flink.
        Configuration config = System.getenv(ConfigConstants.ENV_FLINK_CONF_DIR) == null
                ? new Configuration()
                : GlobalConfiguration.loadConfiguration();
        FileSystem.initialize(config, PluginUtils.createPluginManagerFromRootFolder(config));
        System.exit(run(arguments, System.out, System.err));
    }

    static int run(String[] arguments, PrintStream out, PrintStream err) {
        RepairCheckpoint program = new RepairCheckpoint();
        try {
            program.parse(Arrays.asList(arguments));
        } catch (IllegalArgumentException e) {
            err.println(e.getMessage());
            err.println();
            err.println(USAGE);
            return 2;
        }
        try {
            out.println(program.isDry ? program.repair.plan() : program.repair.run());
            return 0;
        } catch (RepairRefusedException e) {
            err.println("refused: " + e.getMessage());
            return 1;
        } catch (IOException | RuntimeException e) {
            err.println("failed; nothing is left of the new checkpoint:");
            e.printStackTrace(err);
            return 1;
        }
    }

    private void parse(Iterable<String> arguments) {
        List<OperatorRepair> operators = new ArrayList<>();
        for (Iterator<String> rest = arguments.iterator(); rest.hasNext(); ) {
            String option = rest.next();
            switch (option) {
                case "--checkpoint":
                    checkpoint = value(option, rest);
                    break;
                case "--from":
                    from = value(option, rest);
                    break;
                case "--output":
                    output = value(option, rest);
                    break;
                case "--work-directory":
                    workDirectory = Path.of(value(option, rest));
                    break;
                case "--dry-run":
                    isDry = true;
                    break;
                case "--operator":
                    operators.add(OperatorRepair.of(value(option, rest)));
                    break;
                default:
                    if (operators.isEmpty()) {
                        throw new IllegalArgumentException(option + " isn't known, or has to come after an --operator");
                    }
                    ofOperator(operators.get(operators.size() - 1), option, rest);
            }
        }
        if (checkpoint == null || output == null || operators.isEmpty()) {
            throw new IllegalArgumentException("--checkpoint, --output and --operator are needed");
        }
        repair = new CheckpointRepair(checkpoint, output);
        operators.forEach(repair::repair);
        if (from != null) {
            repair.from(from);
        }
        if (workDirectory != null) {
            repair.workDirectory(workDirectory);
        }
    }

    private static void ofOperator(OperatorRepair operator, String option, Iterator<String> rest) {
        switch (option) {
            case "--key-groups":
                operator.keyGroups(value(option, rest));
                break;
            case "--key":
                operator.key(value(option, rest));
                break;
            case "--key-hex":
                operator.keyBytes(bytes(value(option, rest)));
                break;
            case "--state":
                operator.state(value(option, rest));
                break;
            case "--remove":
                operator.remove();
                break;
            default:
                throw new IllegalArgumentException(option + " isn't known");
        }
    }

    private static String value(String option, Iterator<String> rest) {
        if (!rest.hasNext()) {
            throw new IllegalArgumentException(option + " needs a value");
        }
        return rest.next();
    }

    private static byte[] bytes(String digits) {
        if (digits.length() % 2 != 0 || !digits.matches("[0-9A-Fa-f]+")) {
            throw new IllegalArgumentException("not hexadecimal digits, two for each byte: " + digits);
        }
        byte[] bytes = new byte[digits.length() / 2];
        for (int place = 0; place < bytes.length; place++) {
            bytes[place] = (byte) Integer.parseInt(digits.substring(2 * place, 2 * place + 2), 16);
        }
        return bytes;
    }
}
