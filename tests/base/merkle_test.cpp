#include "base/merkle.h"

#include <gtest/gtest.h>

#include "base/hex.h"

namespace gatehouse::test {
namespace {

// The eight records with which implementations of RFC 6962 are compared, and the roots of the first n of them.
const std::vector<std::string> records = {"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
const std::vector<std::string> roots = {
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

TEST(Merkle, HasTheRootsOfRfc6962) {
  MerkleTree tree;
  EXPECT_EQ(tree.root().hex(), roots[0]);
  for (std::size_t i = 0; i < records.size(); ++i) {
    tree.append(merkle_leaf(from_hex(records[i]).value()));
    EXPECT_EQ(tree.size(), i + 1);
    EXPECT_EQ(tree.root().hex(), roots[i + 1]) << i;
    const auto again = MerkleTree::from_peaks(tree.size(), tree.peaks());
    ASSERT_TRUE(again);
    EXPECT_EQ(again->root(), tree.root());
  }
}

TEST(Merkle, ASubtreeStandsForItsLeaves) {
  MerkleTree whole, first, second;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const Digest leaf = merkle_leaf(from_hex(records[i]).value());
    whole.append(leaf);
    (i < 4 ? first : second).append(leaf);
  }
  MerkleTree joined;
  joined.append_subtree(2, first.root());
  joined.append_subtree(2, second.root());
  EXPECT_EQ(joined.size(), 8U);
  EXPECT_EQ(joined.root(), whole.root());
}

TEST(Merkle, PeaksThatDontFitTheSizeAreRefused) {
  MerkleTree tree;
  for (int i = 0; i < 3; ++i) tree.append(merkle_leaf({}));
  EXPECT_FALSE(MerkleTree::from_peaks(4, tree.peaks()));
  EXPECT_FALSE(MerkleTree::from_peaks(7, tree.peaks()));
  EXPECT_FALSE(MerkleTree::from_peaks(1, {Digest::filled(20, std::byte{1})}));
  EXPECT_TRUE(MerkleTree::from_peaks(0, {}));
}

}  // namespace
}  // namespace gatehouse::test
