// Measures redsync's mutex: cycles a second, and how long one waits for the lock.
//
// usage: redsync ADDRESS,... WORKERS LOCKS SECONDS [RETRY-MILLISECONDS]
//
// Each worker has connections of its own. LOCKS is 1 or WORKERS. Without a number of milliseconds redsync's own retry delay is
// used, 50 to 250 ms at random.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/redigo"
	redigolib "github.com/gomodule/redigo/redis"
)

func main() {
	addresses := strings.Split(os.Args[1], ",")
	workers, _ := strconv.Atoi(os.Args[2])
	locks, _ := strconv.Atoi(os.Args[3])
	seconds, _ := strconv.ParseFloat(os.Args[4], 64)
	options := []redsync.Option{redsync.WithExpiry(10 * time.Second), redsync.WithTries(1 << 30)}
	if len(os.Args) > 5 {
		milliseconds, _ := strconv.Atoi(os.Args[5])
		options = append(options, redsync.WithRetryDelay(time.Duration(milliseconds)*time.Millisecond))
	}
	waits := make([][]time.Duration, workers)
	var group sync.WaitGroup
	start := make(chan struct{})
	var end time.Time
	for worker := 0; worker < workers; worker++ {
		pools := make([]redis.Pool, 0, len(addresses))
		for _, address := range addresses {
			address := address
			pools = append(pools, redigo.NewPool(&redigolib.Pool{
				MaxIdle: 2,
				Dial:    func() (redigolib.Conn, error) { return redigolib.Dial("tcp", address) },
			}))
		}
		mutex := redsync.New(pools...).NewMutex(fmt.Sprintf("redsync-bench/%d", worker%locks), options...)
		// Connected before the time runs.
		if locks == workers {
			must(mutex.Lock())
			unlock(mutex)
		}
		group.Add(1)
		go func(worker int) {
			defer group.Done()
			<-start
			for time.Now().Before(end) {
				asked := time.Now()
				must(mutex.Lock())
				waits[worker] = append(waits[worker], time.Since(asked))
				unlock(mutex)
			}
		}(worker)
	}
	began := time.Now()
	end = began.Add(time.Duration(seconds * float64(time.Second)))
	close(start)
	group.Wait()
	took := time.Since(began).Seconds()
	all := []time.Duration{}
	for _, each := range waits {
		all = append(all, each...)
	}
	sort.Slice(all, func(left, right int) bool { return all[left] < all[right] })
	must(json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"cyclesPerSecond": float64(len(all)) / took,
		"p50Milliseconds": all[len(all)/2].Seconds() * 1e3,
		"p99Milliseconds": all[len(all)*99/100].Seconds() * 1e3,
	}))
}

func unlock(mutex *redsync.Mutex) {
	if ok, err := mutex.Unlock(); !ok {
		must(fmt.Errorf("the lock was not released: %v", err))
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
