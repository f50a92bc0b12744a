-- How chats and social networks show a shared link: JSON of title, description, image and site_name; NULL says nothing.
ALTER TABLE programs ADD COLUMN preview TEXT;
ALTER TABLE links ADD COLUMN preview TEXT;
