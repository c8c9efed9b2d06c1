message(STATUS "configured ${PROJECT_NAME}")
