package io.alluvium.flink;

/** Flink's suite for state with a time to live, through canonical savepoints, which leave out what is expired. */
@Skips.Known({"testMergeNamespaces", "testValueSetNull", "testIncrementalCleanupWholeState"})
class AlluviumTtlSavepointTest extends AlluviumTtlStateTest {
    @Override
    public boolean isSavepoint() {
        return true;
    }
}
