package import Foundation

/// A wall clock that a test can step under a server: a library to preload, and a file that holds the step.
package final class ClockShim: Sendable {
    /// The library, to be preloaded with ``environment``.
    package let library: URL
    private let stepFile: URL

    /// What the server needs in its environment.
    package var environment: [String: String] {
        ["LD_PRELOAD": self.library.path, "DLOCK_CLOCK_STEP": self.stepFile.path]
    }

    package init(folder: URL) throws {
        self.library = folder.appending(path: "clock.so")
        self.stepFile = folder.appending(path: "step")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data(count: 8).write(to: self.stepFile)
        let source = folder.appending(path: "clock.c")
        try Data(Self.source.utf8).write(to: source)
        let log = folder.appending(path: "clock.log")
        let compiler = try ChildProcess(
            "cc",
            ["-O2", "-shared", "-fPIC", "-Wall", "-Werror", "-o", self.library.path, source.path],
            output: log.path
        )
        while !compiler.hasEnded { usleep(2_000) }
        guard FileManager.default.fileExists(atPath: self.library.path) else {
            throw TestKitError("cc: \((try? String(contentsOf: log, encoding: .utf8)) ?? "")")
        }
    }

    /// By how much the clock is ahead of the true one from now on.
    package func set(_ step: Duration) throws {
        let microseconds = Int64(step / .microseconds(1))
        let handle = try FileHandle(forWritingTo: self.stepFile)
        defer { try? handle.close() }
        // In one write, over what is there: the server has the file mapped.
        try handle.write(contentsOf: withUnsafeBytes(of: microseconds) { Data($0) })
    }

    // The clocks are asked by system call: the functions that are replaced may be called before this library is set up.
    private static let source = """
        #define _GNU_SOURCE
        #include <fcntl.h>
        #include <stdint.h>
        #include <stdlib.h>
        #include <sys/mman.h>
        #include <sys/syscall.h>
        #include <sys/time.h>
        #include <time.h>
        #include <unistd.h>

        static volatile int64_t *step;

        static int64_t ahead(void) {
            if (!step) {
                const char *path = getenv("DLOCK_CLOCK_STEP");
                int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
                if (file < 0) return 0;
                void *page = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
                close(file);
                if (page == MAP_FAILED) return 0;
                step = page;
            }
            return *step;
        }

        int clock_gettime(clockid_t clock, struct timespec *time) {
            int result = syscall(SYS_clock_gettime, clock, time);
            if (result == 0 && clock == CLOCK_REALTIME) {
                int64_t microseconds = ahead();
                time->tv_sec += microseconds / 1000000;
                time->tv_nsec += microseconds % 1000000 * 1000;
                if (time->tv_nsec >= 1000000000) { time->tv_nsec -= 1000000000; time->tv_sec++; }
                if (time->tv_nsec < 0) { time->tv_nsec += 1000000000; time->tv_sec--; }
            }
            return result;
        }

        int gettimeofday(struct timeval *restrict time, void *restrict zone) {
            struct timespec now;
            (void)zone;
            if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
            time->tv_sec = now.tv_sec;
            time->tv_usec = now.tv_nsec / 1000;
            return 0;
        }

        time_t time(time_t *result) {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            if (result) *result = now.tv_sec;
            return now.tv_sec;
        }
        """
}
