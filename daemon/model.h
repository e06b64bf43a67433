#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "model/bundle.h"
#include "model/classifier.h"
#include "model/front_end.h"

namespace chorus {

/// A model in service: what its bundle says, its front-end, and classifiers that share its weights, lent to whoever has
/// windows to score. Shared by all that is under way for it, and gone with the last of that. Any thread.
class Model {
  public:
    /// At most `most` classifiers, as many as `first` gives. The bundle's tensors, which they have taken over, are let
    /// go.
    Model(Bundle bundle, std::unique_ptr<Classifier> first, std::size_t most);

    const Bundle& bundle() const { return bundle_; }
    const std::string& id() const { return bundle_.id; }
    std::size_t classes() const { return bundle_.labels.size(); }
    /// Owned apart from the model, as the stretch of sound that it hears may outlast it.
    const std::shared_ptr<const FrontEnd>& front_end() const { return front_end_; }
    /// Whether windows of the one can be scored by the other.
    bool hears_as(const Model& other) const { return bundle_.front_end == other.bundle_.front_end; }

    /// So many batches are scored at once.
    std::size_t classifiers() const { return all_.size(); }
    bool gains_from_batches() const { return all_.front()->gains_from_batches(); }
    std::string description() const { return all_.front()->description(); }

    /// As Classifier::score(); waits while all classifiers are at work.
    void score(std::span<const std::span<const float>> windows, std::span<float> scores) const;

    /// Scores a window of silence with each classifier: their memory is there before sound comes, and weights that are
    /// no numbers show. Throws std::runtime_error.
    void warm_up() const;

  private:
    Bundle bundle_;
    const std::shared_ptr<const FrontEnd> front_end_;
    std::vector<std::unique_ptr<Classifier>> all_;
    mutable std::mutex mutex_;  // guards free_
    mutable std::condition_variable given_back_;
    mutable std::vector<Classifier*> free_;
};

}  // namespace chorus
