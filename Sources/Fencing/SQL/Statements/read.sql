-- What a resource remembers: $1 the resource. To be shown, never to decide by.
SELECT token, domain FROM fences WHERE resource = $1
