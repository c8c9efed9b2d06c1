# Stands for a Slicer build tree: what an extension's CMake files may rely on, so that they can be
# configured without Slicer. Scripted modules are laid out in one flat folder, as Slicer does.
set(Slicer_VERSION 5.12.3)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/Finish.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/Require.cmake)
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake)
option(BUILD_TESTING "Register tests" ON)
