package io.alluvium.flink;

import io.alluvium.AlluviumException;
import io.alluvium.Engine;
import io.alluvium.Store;
import java.time.Duration;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.flink.metrics.Gauge;
import org.apache.flink.metrics.MetricGroup;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What a store counts, and how much memory its engine has, as gauges in Flink's metric group. They are read together, at most once a second,
 * by whichever thread reports them; after the store's end they stay as they were.
 */
final class StoreMetrics implements AutoCloseable {
    /** The group in the operator's, and the prefix of the engine's own names. */
    static final String GROUP = "alluvium";

    private static final long AGE_NS = Duration.ofSeconds(1).toNanos();
    private static final Pattern SAMPLE = Pattern.compile("alluvium_([a-z0-9_]+)(?:\\{(.*)\\})? (\\S+)");
    private static final Pattern LABEL = Pattern.compile("([a-z]+)=\"([^\"]*)\"");
    private static final String TOTAL = "_total";
    private static final Logger LOG = LoggerFactory.getLogger(StoreMetrics.class);

    private final Store store;
    private final Engine engine;
    private Map<String, Double> read = Collections.emptyMap();
    private long readNs;
    private boolean closed;

    private StoreMetrics(Store store, Engine engine) {
        this.store = store;
        this.engine = engine;
    }

    /** Registers everything that the engine counts. They have to be closed before the store is. */
    static StoreMetrics register(Store store, Engine engine, MetricGroup operator) {
        StoreMetrics metrics = new StoreMetrics(store, engine);
        metrics.refresh();
        MetricGroup group = operator.addGroup(GROUP);
        for (String name : metrics.read.keySet()) {
            if (name.contains("_seconds") && !name.endsWith("_count")) {
                group.gauge(name, metrics.seconds(name));
            } else {
                group.gauge(name, metrics.count(name));
            }
        }
        return metrics;
    }

    private Gauge<Double> seconds(String name) {
        return () -> value(name);
    }

    private Gauge<Long> count(String name) {
        return () -> value(name).longValue();
    }

    private synchronized Double value(String name) {
        if (!closed && System.nanoTime() - readNs >= AGE_NS) {
            refresh();
        }
        return read.getOrDefault(name, 0.0);
    }

    private void refresh() {
        readNs = System.nanoTime();
        try {
            Map<String, Double> now = parse(store.metrics());
            now.put("engine_budget_bytes", (double) engine.budgetBytes());
            now.put("engine_used_bytes", (double) engine.usedBytes());
            read = now;
        } catch (AlluviumException e) {
            LOG.debug("The metrics stay as they were", e);
        }
    }

    /** Reads Prometheus' text format: a name for each sample, which has in it what its labels say. */
    static Map<String, Double> parse(String text) {
        Map<String, Double> values = new LinkedHashMap<>();
        for (String line : text.split("\n")) {
            Matcher sample = SAMPLE.matcher(line);
            if (sample.matches()) {
                values.put(name(sample.group(1), sample.group(2)), Double.valueOf(sample.group(3)));
            }
        }
        return values;
    }

    private static String name(String metric, String labels) {
        String name = metric.endsWith(TOTAL) ? metric.substring(0, metric.length() - TOTAL.length()) : metric;
        Matcher label = LABEL.matcher(labels == null ? "" : labels);
        while (label.find()) {
            if (label.group(1).equals("quantile")) {
                name += percentile(label.group(2));
            } else {
                // The kind of an operation, which comes first.
                name = label.group(2) + "_" + name;
            }
        }
        return name;
    }

    /** Of 0.5, 50; of 0.99, 99; of 0.999, 999. */
    private static String percentile(String quantile) {
        if (quantile.equals("1")) {
            return "_max";
        }
        String digits = quantile.substring(quantile.indexOf('.') + 1);
        return "_p" + (digits.length() == 1 ? digits + "0" : digits);
    }

    /** No more of the store is read: waits for whoever reads now. */
    @Override
    public synchronized void close() {
        closed = true;
    }
}
