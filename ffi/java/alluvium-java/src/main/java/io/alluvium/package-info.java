/**
 * Alluvium: an embedded state backend storage engine for stream processing.
 *
 * <p>An {@link io.alluvium.Engine} has the memory and the threads; a {@link io.alluvium.Store} is a directory; a {@link
 * io.alluvium.Writer} owns a range of its key groups, and the keys of {@linkplain io.alluvium.State states} in them; a {@link
 * io.alluvium.PendingCheckpoint checkpoint} makes it last. Everything that is opened has to be closed, last opened first.
 */
package io.alluvium;
