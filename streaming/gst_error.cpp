#include "streaming/gst_error.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <string_view>

#include "streaming/audio_source.h"
#include "streaming/gst_ptr.h"

namespace chorus::gst {
namespace {

std::string factory_name(GstElement* element) {
    const GstElementFactory* factory = gst_element_get_factory(element);
    const gchar* name = factory == nullptr ? nullptr : gst_plugin_feature_get_name(GST_PLUGIN_FEATURE(factory));
    return name == nullptr ? "" : name;
}

ElementPtr find_element(GstElement* pipeline, const std::string& factory) {
    if (!GST_IS_BIN(pipeline)) return nullptr;
    const IteratorPtr all(gst_bin_iterate_recurse(GST_BIN(pipeline)));
    ElementPtr found;
    GValue item = G_VALUE_INIT;
    for (;;) {
        switch (gst_iterator_next(all.get(), &item)) {
            case GST_ITERATOR_OK: {
                auto* const element = GST_ELEMENT(g_value_get_object(&item));
                if (!found && factory_name(element) == factory) found.reset(GST_ELEMENT(gst_object_ref(element)));
                g_value_reset(&item);
                break;
            }
            case GST_ITERATOR_RESYNC:
                gst_iterator_resync(all.get());
                break;
            default:
                g_value_unset(&item);
                return found;
        }
    }
}

std::string file_path(GstElement* pipeline) {
    const auto file = find_element(pipeline, "filesrc");
    if (!file) return {};
    gchar* location = nullptr;
    g_object_get(file.get(), "location", &location, nullptr);
    const StringPtr owned(location);
    return location == nullptr ? "" : location;
}

// What the bytes were recognised as, for example "text/plain".
std::string media_type(GstElement* pipeline) {
    const auto typefind = find_element(pipeline, "typefind");
    if (!typefind) return {};
    GstCaps* caps = nullptr;
    g_object_get(typefind.get(), "caps", &caps, nullptr);
    const CapsPtr owned(caps);
    if (caps == nullptr || gst_caps_is_empty(caps) || gst_caps_is_any(caps)) return {};
    return gst_structure_get_name(gst_caps_get_structure(caps, 0));
}

bool could_hold_sound(std::string_view type) {
    return type.starts_with("audio/") || type.starts_with("video/") || type == "application/ogg" ||
           type == "application/x-id3" || type == "application/x-apetag" || type == "application/x-3gp";
}

// Empty where the file itself explains nothing.
std::string file_fault(const std::string& path) {
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    if (status.type() == std::filesystem::file_type::not_found) return "no such file";
    if (error) return error.message();
    if (status.type() == std::filesystem::file_type::directory) return "is a directory, not a sound file";
    if (access(path.c_str(), R_OK) != 0) return "may not be read (permission denied)";
    if (std::filesystem::is_regular_file(status) && std::filesystem::file_size(path, error) == 0 && !error) {
        return "the file is empty";
    }
    return {};
}

std::string with_name(const std::string& name, const std::string& path, std::string_view text) {
    const auto shown = path.starts_with("./") && !name.starts_with("./") ? path.substr(2) : path;
    if (shown.empty() || shown == name || shown.ends_with("/" + name)) return fmt::format("{}: {}", name, text);
    return fmt::format("{}: {}: {}", name, shown, text);
}

// A debug text reads "file.c(123): function (): /Pipeline/Element:name:\nwhat happened".
std::string useful_part(const gchar* debug) {
    if (debug == nullptr) return {};
    std::string_view text(debug);
    const auto line = text.find('\n');
    if (line == std::string_view::npos) return {};
    return std::string(text.substr(line + 1));
}

bool is_damage(const GError& error) {
    return error.domain == GST_STREAM_ERROR &&
           (error.code == GST_STREAM_ERROR_TYPE_NOT_FOUND || error.code == GST_STREAM_ERROR_WRONG_TYPE ||
            error.code == GST_STREAM_ERROR_DECODE || error.code == GST_STREAM_ERROR_DEMUX);
}

std::string on_one_line(std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
    text.erase(text.find_last_not_of(" .") + 1);
    return text;
}

}  // namespace

std::string describe_error(const std::string& name, GstElement* pipeline, GstMessage* message) {
    GError* raw_error = nullptr;
    gchar* raw_debug = nullptr;
    gst_message_parse_error(message, &raw_error, &raw_debug);
    const ErrorPtr error(raw_error);
    const StringPtr debug(raw_debug);

    const auto path = file_path(pipeline);
    if (!path.empty()) {
        if (const auto fault = file_fault(path); !fault.empty()) return redact_urls(with_name(name, path, fault));
        const auto type = media_type(pipeline);
        if (type.empty() && g_error_matches(error.get(), GST_STREAM_ERROR, GST_STREAM_ERROR_TYPE_NOT_FOUND)) {
            return redact_urls(with_name(name, path, "not a sound file (of no known type)"));
        }
        if (!type.empty() && !could_hold_sound(type)) {
            return redact_urls(with_name(name, path, fmt::format("not a sound file ({})", type)));
        }
    }

    auto text = on_one_line(error->message);
    const auto more = on_one_line(useful_part(debug.get()));
    if (!path.empty()) {
        const auto type = media_type(pipeline);
        if (more.find("not-linked") != std::string::npos) {
            return redact_urls(with_name(name, path, fmt::format("there is no sound in it ({})", type)));
        }
        if (is_damage(*error) || more.find("all streams without buffers") != std::string::npos) {
            return redact_urls(with_name(name, path, fmt::format("damaged sound file ({}: {})", type, more)));
        }
    }
    const gchar* const element = GST_MESSAGE_SRC_NAME(message);
    if (!more.empty() && more != text)
        text += fmt::format(" ({}: {})", element, more);
    else
        text += fmt::format(" ({})", element);
    return redact_urls(with_name(name, path, text));
}

std::string describe_silence(const std::string& name, GstElement* pipeline) {
    const auto path = file_path(pipeline);
    const auto fault = path.empty() ? std::string() : file_fault(path);
    const auto type = media_type(pipeline);
    if (!fault.empty()) return redact_urls(with_name(name, path, fault));
    if (!type.empty() && !could_hold_sound(type)) {
        return redact_urls(with_name(name, path, fmt::format("not a sound file ({})", type)));
    }
    return redact_urls(with_name(name, path, "there is no sound in it"));
}

}  // namespace chorus::gst
