package import Foundation

/// Makes every wait for the disk of a process take long: a library to preload.
package struct SlowDisk: Sendable {
    private let library: URL
    private let delay: Duration

    /// Stands before a command.
    package var prefix: [String] {
        ["LD_PRELOAD=\(self.library.path)", "DLOCK_SYNC_DELAY_US=\(Int(self.delay / .microseconds(1)))"]
    }

    package init(folder: URL, delay: Duration) throws {
        self.library = folder.appending(path: "slow-disk.so")
        self.delay = delay
        let source = folder.appending(path: "slow-disk.c")
        try Data(Self.source.utf8).write(to: source)
        try NetworkNamespaces.run([
            "cc", "-O2", "-shared", "-fPIC", "-Wall", "-Werror", "-o", self.library.path, source.path,
        ])
    }

    private static let source = """
        #define _GNU_SOURCE
        #include <stdlib.h>
        #include <sys/syscall.h>
        #include <unistd.h>

        static void wait_for_the_disk(void) {
            const char *delay = getenv("DLOCK_SYNC_DELAY_US");
            if (delay) usleep((useconds_t)atol(delay));
        }

        int fsync(int file) {
            wait_for_the_disk();
            return syscall(SYS_fsync, file);
        }

        int fdatasync(int file) {
            wait_for_the_disk();
            return syscall(SYS_fdatasync, file);
        }
        """
}
