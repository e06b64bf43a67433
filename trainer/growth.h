#pragma once
// Beginning with the network of a bundle, its parent, instead of with chance, and giving it more classes.

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "model/bundle.h"
#include "trainer/dataset.h"
#include "trainer/embeddings.h"

namespace chorus {

/// Gives the dataset the parent's classes, in its order, and after them those that only the dataset has. Returns those
/// that the dataset has labels for.
std::vector<std::size_t> adopt_classes(Dataset& dataset, const Bundle& parent);

/// What is to be learned, [clips, classes]: the dataset's labels, and of classes it has none for what the parent makes
/// of the clip, so that they aren't forgotten (arXiv 1606.09282). parent_scores: [clips, the parent's classes], looked
/// at only where there are such classes.
std::vector<float> targets_beside_parent(const Dataset& dataset, const Bundle& parent,
                                         std::span<const std::size_t> labelled, std::span<const float> parent_scores);

/// The parent's tensors, with a row of the head more for each class that it hasn't: by prototypes (prototypes.h) of the
/// rows given, or no more than a low score where all of them hold the class, or none. embeddings: of these rows, looked
/// at only where there are such classes.
std::map<std::string, StoredTensor> grow_network(const Bundle& parent, const Dataset& dataset,
                                                 const Embeddings& embeddings, std::span<const std::size_t> rows);

/// Gives these classes the rows of the head that the parent has for them.
void keep_head_rows(const Bundle& parent, std::span<const std::size_t> classes,
                    std::map<std::string, StoredTensor>& tensors);

}  // namespace chorus
