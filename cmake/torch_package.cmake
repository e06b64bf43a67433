# LibTorch out of PyPI's package torch, as `pip install --target CHORUS_TORCH_ROOT torch` lays it down. Chorus has no
# kernels of its own, so that libraries and headers are all it takes; the package's own TorchConfig.cmake wants nvcc.
set(torch ${CHORUS_TORCH_ROOT}/torch)
if(NOT EXISTS ${torch}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "CHORUS_TORCH_ROOT: no PyPI package torch in ${CHORUS_TORCH_ROOT}")
endif()

# Beside LibTorch's headers lie those of other libraries, fmt among them, of other versions than those linked here.
set(headers ${PROJECT_BINARY_DIR}/torch_headers)
file(MAKE_DIRECTORY ${headers})
foreach(folder ATen c10 caffe2 torch)
  file(CREATE_LINK ${torch}/include/${folder} ${headers}/${folder} SYMBOLIC)
endforeach()
target_include_directories(libtorch SYSTEM INTERFACE ${headers} ${headers}/torch/csrc/api/include)

target_link_libraries(libtorch INTERFACE ${torch}/lib/libtorch_cpu.so ${torch}/lib/libc10.so)
if(CHORUS_CUDA)
  # Nobody calls it: it registers itself when it is loaded.
  target_link_libraries(libtorch INTERFACE
    -Wl,--push-state,--no-as-needed,${torch}/lib/libtorch_cuda.so,${torch}/lib/libc10_cuda.so,--pop-state)
endif()
file(GLOB CHORUS_CUDA_INCLUDES ${CHORUS_TORCH_ROOT}/nvidia/*/include)
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)  # installed programs look for it where it is now, too
# What these libraries need in turn they find by themselves when they run, the linker only where it is told.
file(GLOB libraries ${CHORUS_TORCH_ROOT}/nvidia/*/lib)
foreach(folder ${torch}/lib ${libraries})
  target_link_options(libtorch INTERFACE -Wl,-rpath-link,${folder})
endforeach()
