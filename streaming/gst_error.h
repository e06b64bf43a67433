#pragma once

#include <gst/gst.h>

#include <string>

namespace chorus::gst {

/// One clear line for a pipeline's error message: what a user can act on, URLs redacted. `name` is the source's.
std::string describe_error(const std::string& name, GstElement* pipeline, GstMessage* message);

/// The same for a pipeline that ended without any sound.
std::string describe_silence(const std::string& name, GstElement* pipeline);

}  // namespace chorus::gst
