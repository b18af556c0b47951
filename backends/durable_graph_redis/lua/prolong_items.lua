-- Let items expire later, those that are still what was read.
-- KEYS: items; ends. ARGV: 1 the time; then for each item: its field, its version, its new end.
-- So that it is done on a server without memory, too: it takes none, and items can be read there.
redis.call('ZREM', KEYS[2], '')
for i = 2, #ARGV, 3 do
  local there = redis.call('HGET', KEYS[1], ARGV[i])
  local ends_at = redis.call('ZSCORE', KEYS[2], ARGV[i])
  if there and string.sub(there, 1, 16) == ARGV[i + 1] and ends_at
      and tonumber(ends_at) > tonumber(ARGV[1])
      and tonumber(ends_at) < tonumber(ARGV[i + 2]) then
    redis.call('ZADD', KEYS[2], ARGV[i + 2], ARGV[i])
  end
end
return 1
