#include "daemon/model.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace chorus {

Model::Model(Bundle bundle, std::unique_ptr<Classifier> first, std::size_t most)
    : bundle_(std::move(bundle)), front_end_(std::make_shared<const FrontEnd>(bundle_.front_end)) {
    bundle_.tensors.clear();
    all_.push_back(std::move(first));
    while (all_.size() < most) {
        auto another = all_.front()->for_another_thread();
        if (!another) break;
        all_.push_back(std::move(another));
    }
    for (const auto& each : all_) free_.push_back(each.get());
}

void Model::score(std::span<const std::span<const float>> windows, std::span<float> scores) const {
    struct Loan {
        explicit Loan(const Model& lender) : model(lender) {
            std::unique_lock lock(model.mutex_);
            model.given_back_.wait(lock, [this] { return !model.free_.empty(); });
            classifier = model.free_.back();
            model.free_.pop_back();
        }
        ~Loan() {
            {
                const std::lock_guard lock(model.mutex_);
                model.free_.push_back(classifier);
            }
            model.given_back_.notify_one();
        }
        Loan(const Loan&) = delete;
        Loan& operator=(const Loan&) = delete;
        const Model& model;
        Classifier* classifier;
    };
    const Loan loan(*this);
    loan.classifier->score(windows, scores);
}

void Model::warm_up() const {
    const std::vector<float> silence(bundle_.front_end.feature_size());
    const std::span<const float> window(silence);
    std::vector<float> scores(classes());
    for (const auto& each : all_) {
        each->score({&window, 1}, scores);
        if (!std::all_of(scores.begin(), scores.end(), [](float score) { return std::isfinite(score); }))
            throw std::runtime_error("the model gives scores that are no numbers");
    }
}

}  // namespace chorus
