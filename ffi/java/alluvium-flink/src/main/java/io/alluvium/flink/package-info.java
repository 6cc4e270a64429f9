/**
 * A keyed state backend for Apache Flink 2.3 whose state lives in an Alluvium store.
 *
 * <p>{@link io.alluvium.flink.AlluviumStateBackendFactory} is what a configuration names; {@link io.alluvium.flink.AlluviumOptions} has the
 * options.
 */
package io.alluvium.flink;
